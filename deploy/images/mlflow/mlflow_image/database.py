"""Reaches PostgreSQL within a bound, and says what is wrong when it cannot.

MLflow alone retries for about 100 seconds and shows the cause in a stack trace. Here the first
failure is one line at once, a cause that waiting cannot cure ends the command at once, and the
rest ends within the bound, so that the kubelet sees a failed container.
"""

import json
import os
import pathlib
import time

import psycopg2
import psycopg2.extensions

from mlflow_image import log

# Written when the image is built, so that asking for the schema needs no import of MLflow.
SCHEMA = pathlib.Path(__file__).with_name("schema.json")

# What libpq and the server say when another try with the same settings cannot succeed.
LASTING = (
    "password authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "is not permitted to log in",
    "permission denied for database",
)


def uri() -> str:
    """The SQLAlchemy address of the backend store."""
    return os.environ.get("MLFLOW_BACKEND_STORE_URI") or "postgresql+psycopg2://"


def libpq_uri() -> str:
    """The same address for libpq, which takes what is missing from PGHOST, PGUSER and so on."""
    scheme, separator, rest = uri().partition("://")
    if not separator or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        log.fail(
            f"MLFLOW_BACKEND_STORE_URI has scheme `{scheme}`, this image speaks to PostgreSQL only",
            "set it to postgresql+psycopg2:// and give PGHOST, PGUSER, PGPASSWORD, PGDATABASE",
            status=2,
        )
    return f"postgresql://{rest}"


def target() -> str:
    """Host, database and user for people, without the password."""
    given = psycopg2.extensions.parse_dsn(libpq_uri())
    host = given.get("host") or os.environ.get("PGHOST") or "the local socket"
    port = given.get("port") or os.environ.get("PGPORT") or "5432"
    user = given.get("user") or os.environ.get("PGUSER") or "the process's user"
    name = given.get("dbname") or os.environ.get("PGDATABASE") or user
    return f"database `{name}` at {host}:{port} as user `{user}`"


def connect(timeout_s: float):
    """Connects within the bound, or ends the command with the cause."""
    deadline = time.monotonic() + timeout_s
    said, said_at, pause_s = None, 0.0, 0.25
    while True:
        try:
            connection = psycopg2.connect(libpq_uri(), connect_timeout=5)
            if said:
                log.line(f"{target()}: connected")
            connection.autocommit = True
            return connection
        except psycopg2.OperationalError as error:
            cause = " ".join(str(error).split())
        if any(words in cause for words in LASTING):
            log.fail(
                f"{target()}: {cause}",
                "compare Secret mlflow-database with the role in the database; a pod reads the Secret"
                " when it starts",
            )
        now = time.monotonic()
        if now >= deadline:
            log.fail(
                f"{target()}: still not reachable after {timeout_s:.0f} s: {cause}",
                "kubectl -n mlflow get pods,endpointslices",
            )
        if cause != said or now - said_at >= 10:
            log.line(f"{target()}: {cause}; trying for {deadline - now:.0f} s more")
            said, said_at = cause, now
        time.sleep(min(pause_s, max(0.05, deadline - now)))
        pause_s = min(pause_s * 1.5, 1.0)


def known_schema() -> dict:
    """The image's schema: `mlflow` its version, `head` the newest revision, `known` all of them."""
    return json.loads(SCHEMA.read_text())


def revision(connection) -> str | None:
    """The database's schema revision, None before the first migration."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
        return row[0] if row else None


def has_default_experiment(connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM experiments WHERE experiment_id = 0")
        return cursor.fetchone() is not None


def refuse_unknown(found: str | None, schema: dict) -> None:
    """Ends the command when the schema was not made by this MLflow or an older one."""
    if found is None or found in schema["known"]:
        return
    log.fail(
        f"{target()} has schema revision {found}, which MLflow {schema['mlflow']} in this image does"
        " not know: a newer MLflow wrote it. Nothing was changed",
        "deploy the image of the newer MLflow, or restore the backup made before its migration",
        status=3,
    )


def wait_for_schema(connection, timeout_s: float) -> None:
    """Waits until the migration has run, so that a server never migrates on its own."""
    schema = known_schema()
    deadline = time.monotonic() + timeout_s
    said_at = None
    while True:
        found = revision(connection)
        refuse_unknown(found, schema)
        if found == schema["head"] and has_default_experiment(connection):
            return
        now = time.monotonic()
        if now >= deadline:
            log.fail(
                f"{target()}: schema is at {found or 'nothing'}, MLflow {schema['mlflow']} needs"
                f" {schema['head']}, and no migration finished within {timeout_s:.0f} s",
                "kubectl -n mlflow logs -l app=mlflow-migrate --tail 50",
            )
        if said_at is None or now - said_at >= 10:
            log.line(
                f"{target()}: schema is at {found or 'nothing'}, waiting for mlflow-migrate to bring it"
                f" to {schema['head']} (up to {deadline - now:.0f} s)"
            )
            said_at = now
        time.sleep(0.25)
