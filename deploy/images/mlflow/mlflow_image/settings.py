"""The server's settings from the environment, refused when this image cannot honour them."""

import os
import uuid

from mlflow_image import database, log

# Clients get artifacts through the server; where it keeps them is the server's business alone.
DEFAULT_ARTIFACT_ROOT = "mlflow-artifacts:/"

# Settings of `mlflow server` that would be silently without effect: a server that is asked for
# authentication and starts without it is worse than one that does not start.
REFUSED = {
    "MLFLOW_APP_NAME": "plug-in applications (basic-auth among them) are not in this image",
    "MLFLOW_GUNICORN_OPTS": "the server is uvicorn",
    "MLFLOW_UVICORN_OPTS": "uvicorn runs inside mlflow-server, which has MLFLOW_WORKERS only",
    "MLFLOW_EXPOSE_PROMETHEUS": "the Prometheus exporter is not in this image",
    "MLFLOW_ARTIFACTS_ONLY": "the image runs the whole server",
}
REFUSED_WHEN_TRUE = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "the job queue (huey) is not in this image",
    "MLFLOW_SQL_TRACE_ROLLUPS_ENABLED": "trace rollups need the job queue, not in this image",
}


def flag(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("true", "1")


def number(name: str, default: int, least: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        log.fail(f"{name} is `{text}`, not a whole number from {least} on", status=2)
    return int(text)


def backend_store() -> str:
    return database.uri()


def registry_store() -> str:
    return os.environ.get("MLFLOW_REGISTRY_STORE_URI") or backend_store()


def artifacts_destination() -> str:
    found = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or os.environ.get("DEFAULT_ARTIFACT_ROOT")
    if not found:
        log.fail(
            "DEFAULT_ARTIFACT_ROOT is not set, so there is no place for artifacts",
            "set it to gs://BUCKET in base/config.env",
            status=2,
        )
    return found


def check() -> None:
    for name, reason in REFUSED.items():
        if os.environ.get(name):
            log.fail(f"{name} is set, but {reason}", f"unset {name}", status=2)
    for name, reason in REFUSED_WHEN_TRUE.items():
        if flag(name):
            log.fail(f"{name} is true, but {reason}", f"set {name}=false", status=2)
    if os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") not in (None, "", DEFAULT_ARTIFACT_ROOT):
        log.fail(
            "MLFLOW_DEFAULT_ARTIFACT_ROOT would send clients around the server",
            "set DEFAULT_ARTIFACT_ROOT=gs://BUCKET, which the server keeps to itself",
            status=2,
        )


def export() -> None:
    """Sets the private variables through which `mlflow server` configures its own workers."""
    os.environ.update(
        _MLFLOW_SERVER_FILE_STORE=backend_store(),
        _MLFLOW_SERVER_REGISTRY_STORE=registry_store(),
        _MLFLOW_SERVER_ARTIFACT_ROOT=DEFAULT_ARTIFACT_ROOT,
        _MLFLOW_SERVER_ARTIFACT_DESTINATION=artifacts_destination(),
        _MLFLOW_SERVER_SERVE_ARTIFACTS="true",
        _MLFLOW_SERVER_BOOT_ID=uuid.uuid4().hex,
        _MLFLOW_IN_JOB_EXECUTOR="false",
        _MLFLOW_SGI_NAME="uvicorn",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    )
    for public, private in (
        ("MLFLOW_STATIC_PREFIX", "_MLFLOW_STATIC_PREFIX"),
        ("MLFLOW_READ_REPLICA_BACKEND_STORE_URI", "_MLFLOW_SERVER_READ_REPLICA_BACKEND_STORE"),
    ):
        if os.environ.get(public):
            os.environ[private] = os.environ[public]
