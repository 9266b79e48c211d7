"""Runs when the image is built: proves that all the server needs is there, and prepares its start.

Imports are not enough to know that an endpoint works (the container tests call them), but a
missing package or a broken library ends the build here instead of a deployment later.

Bytecode is written for what was imported and no more: the rest of MLflow would add 40 MB, and is
compiled in memory should it ever be asked for.
"""

import hashlib
import importlib
import importlib.util
import inspect
import json
import pathlib
import py_compile
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
    modules = {"scikit-learn": "sklearn", "gitpython": "git", "databricks-sdk": "databricks"}
    return [modules.get(name, name) for name in names if name and not name.startswith("#")]


def check_traffic() -> None:
    import mlflow_image.traffic
    from mlflow.gateway.providers.base import TrafficRouteProvider

    source = inspect.getsource(TrafficRouteProvider)
    if hashlib.sha256(source.encode()).hexdigest() != mlflow_image.traffic.READ:
        sys.exit("MLflow changed TrafficRouteProvider: read it and mlflow_image/traffic.py again")


def write_schema() -> None:
    import mlflow_image.database
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils
    from mlflow.version import VERSION

    scripts = ScriptDirectory.from_config(utils._get_alembic_config(""))
    known = sorted(script.revision for script in scripts.walk_revisions())
    schema = {"mlflow": VERSION, "head": utils._get_latest_schema_revision(), "known": known}
    mlflow_image.database.SCHEMA.write_text(json.dumps(schema) + "\n")


back = [name for name in omitted() if importlib.util.find_spec(name)]
if back:
    sys.exit(f"left out in omitted.txt and yet in the image: {', '.join(back)}")

import mlflow_image.absent  # noqa: E402

def compile_loaded() -> int:
    from mlflow.store import db_migrations

    migrations = pathlib.Path(db_migrations.__path__[0]).rglob("*.py")
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    sources = {str(path) for path in migrations} | {path for path in loaded if path}
    sources = {path for path in sources if path.endswith(".py") and path != __file__}
    for path in sources:
        # Unchecked: the file system is read-only, so no time stamp is compared at the start.
        py_compile.compile(
            path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
    return len(sources)


mlflow_image.absent.install()
for name in NEEDED:
    importlib.import_module(name)
check_traffic()
write_schema()
print(
    f"{len(NEEDED)} modules import, {compile_loaded()} are compiled,"
    f" {len(omitted())} packages are left out as written"
)
