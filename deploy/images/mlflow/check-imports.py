"""Runs when the image is built: proves that all the server needs is there, and notes the schema.

Imports are not enough to know that an endpoint works (the container tests call them), but a
missing package or a broken library ends the build here instead of a deployment later.
"""

import importlib
import importlib.util
import json
import pathlib
import sys

NEEDED = [
    "mlflow.server.fastapi_app",
    "mlflow.server.graphql.graphql_schema_extensions",
    "mlflow.server.otel_api",
    "mlflow.store.artifact.gcs_artifact_repo",
    "mlflow.store.artifact.http_artifact_repo",
    "mlflow.store.artifact.mlflow_artifacts_repo",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "alembic.command",
    "google.cloud.storage",
    "google.auth.compute_engine.credentials",
    "google.auth.identity_pool",
    "numpy.linalg",
    "pandas",
    "psycopg2",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "uvicorn.loops.asyncio",
    "uvicorn.protocols.http.h11_impl",
    "uvicorn.lifespan.on",
    "uvicorn.supervisors.multiprocess",
    "mlflow_image.migrate",
    "mlflow_image.secret",
    "mlflow_image.server",
]
OMITTED = pathlib.Path(__file__).with_name("omitted.txt")


def omitted() -> list[str]:
    names = [line.split(";")[0].strip() for line in OMITTED.read_text().splitlines()]
    modules = {"scikit-learn": "sklearn", "gitpython": "git"}
    return [modules.get(name, name) for name in names if name and not name.startswith("#")]


def write_schema() -> None:
    import mlflow_image.database
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.version import VERSION

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    known = sorted(script.revision for script in scripts.walk_revisions())
    schema = {"mlflow": VERSION, "head": utils._get_latest_schema_revision(), "known": known}
    mlflow_image.database.SCHEMA.write_text(json.dumps(schema) + "\n")


for name in NEEDED:
    importlib.import_module(name)
back = [name for name in omitted() if importlib.util.find_spec(name)]
if back:
    sys.exit(f"left out in omitted.txt and yet in the image: {', '.join(back)}")
write_schema()
print(f"{len(NEEDED)} modules import, {len(omitted())} packages are left out as written")
