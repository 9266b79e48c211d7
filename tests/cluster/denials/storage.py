"""What two see of Cloud Storage in MLflow's pod: a client that starts now, and MLflow's user. One line of JSON."""

import json
import sys
import urllib.error
import urllib.request

from google.auth.exceptions import DefaultCredentialsError
from google.cloud import storage

FOLDER = "denials"
ARTIFACTS = f"http://localhost:5000/api/2.0/mlflow-artifacts/artifacts/{FOLDER}"


def client(deed: str) -> None:
    # As MLflow's GCSArtifactRepository makes its own; importing that takes three seconds each time.
    try:
        cloud = storage.Client()
    except DefaultCredentialsError:
        cloud = storage.Client.create_anonymous_client()
    blob = cloud.bucket("mlflow-artifacts").blob(f"{FOLDER}/client.txt")
    if deed == "read":
        blob.download_as_bytes()
    else:
        blob.upload_from_string("written by a client")


def user(deed: str) -> tuple[int, str]:
    body = None if deed == "read" else b"written by a user"
    method = "GET" if deed == "read" else "PUT"
    headers = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{ARTIFACTS}/user.txt", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def main() -> None:
    deed = sys.argv[1]
    try:
        client(deed)
        said = "well"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    status, body = user(deed)
    print(json.dumps({"client": said, "status": status, "body": body}))


main()
