"""mlflow-generate-secret: makes the database's password inside the cluster, once.

So that no password is ever in git, in an argument or on a workstation. An existing Secret is never
touched: the database was made with the password in it.
"""

import base64
import http.client
import json
import os
import pathlib
import secrets
import ssl
import time

from mlflow_image import log

ACCOUNT = pathlib.Path(
    os.environ.get("SERVICE_ACCOUNT_DIR") or "/var/run/secrets/kubernetes.io/serviceaccount"
)
TIMEOUT_S = 60


def call(method: str, path: str, body: dict | None = None) -> tuple[int, str]:
    """One request to the API server as the pod's service account, retried while it is unreachable."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host:
        log.fail("KUBERNETES_SERVICE_HOST is not set: this command runs in a pod only", status=2)
    port = int(os.environ.get("KUBERNETES_SERVICE_PORT") or 443)
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    headers = {
        "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
        "Content-Type": "application/json",
    }
    deadline = time.monotonic() + TIMEOUT_S
    said = None
    while True:
        try:
            connection = http.client.HTTPSConnection(host, port, timeout=10, context=trust)
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
            if answer.status < 500 and answer.status != 429:
                return answer.status, text
            cause = f"status {answer.status}: {message(text)}"
        except ssl.SSLCertVerificationError as error:
            log.fail(f"the API server at {host}:{port} is not the one of this cluster: {error}")
        except (OSError, http.client.HTTPException) as error:
            cause = str(error)
        if time.monotonic() >= deadline:
            log.fail(f"the API server at {host}:{port} gave no answer within {TIMEOUT_S} s: {cause}")
        if cause != said:
            log.line(f"the API server at {host}:{port}: {cause}; trying for up to {TIMEOUT_S} s")
            said = cause
        time.sleep(1)


def message(text: str) -> str:
    try:
        return json.loads(text).get("message", text)
    except (ValueError, AttributeError):
        return text[:200]


def refused(status: int, text: str, namespace: str) -> None:
    hint = ""
    if status in (401, 403):
        hint = (
            f"the pod's service account needs a Role in namespace {namespace} that may create"
            " Secrets and get this one"
        )
    log.fail(f"the API server answered {status}: {message(text)}", hint)


def secret(name: str, namespace: str) -> dict:
    values = {
        "username": os.environ.get("DATABASE_USERNAME") or "mlflow",
        "password": secrets.token_urlsafe(32),
        "database": os.environ.get("DATABASE_NAME") or "mlflow",
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "mlflow"},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }


def main() -> None:
    name = os.environ.get("SECRET_NAME") or "mlflow-database"
    namespace = os.environ.get("SECRET_NAMESPACE") or (ACCOUNT / "namespace").read_text().strip()
    secrets_path = f"/api/v1/namespaces/{namespace}/secrets"
    status, text = call("GET", f"{secrets_path}/{name}")
    if status == 200:
        log.line(f"Secret {namespace}/{name} exists already, nothing to do")
        return
    if status != 404:
        refused(status, text, namespace)
    status, text = call("POST", secrets_path, secret(name, namespace))
    if status == 409:
        log.line(f"Secret {namespace}/{name} was made by someone else meanwhile, it stays as it is")
    elif status == 201:
        log.line(f"Secret {namespace}/{name} created")
    else:
        refused(status, text, namespace)
