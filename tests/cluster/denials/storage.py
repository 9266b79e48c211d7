"""What two see of Cloud Storage in MLflow's pod: a client that starts now, and MLflow's user. One line of JSON."""

import json
import pathlib
import sys
import tempfile
import urllib.error
import urllib.request

from mlflow_image import absent

absent.install()  # As the server does.

from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository  # noqa: E402

FOLDER = "denials"
ARTIFACTS = f"http://localhost:5000/api/2.0/mlflow-artifacts/artifacts/{FOLDER}"


def client(deed: str) -> None:
    repository = GCSArtifactRepository(f"gs://mlflow-artifacts/{FOLDER}")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "client.txt"
        if deed == "read":
            repository._download_file("client.txt", str(file))
            return
        file.write_text("written by a client")
        repository.log_artifact(str(file))


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
