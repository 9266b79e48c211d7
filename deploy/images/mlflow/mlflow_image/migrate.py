"""mlflow-migrate: brings the database to the schema of this image's MLflow, once, under a lock.

MLflow's own upgrade takes no lock across pods: two at once corrupt the history. The lock lives in
the session that holds it, so that it is gone when this process dies.
"""

import gc
import os
import signal
import sys
import time

from mlflow_image import absent, database, log, settings

CONNECT_TIMEOUT_S = 60
LOCK_TIMEOUT_S = 600
# "mlflow" as a number; the key only has to be the same in every version of this image.
LOCK_KEY = 0x6D6C666C6F77


def lock(connection, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    said_at = None
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,))
            if cursor.fetchone()[0]:
                return
            now = time.monotonic()
            if now >= deadline:
                log.fail(
                    f"another migration of {database.target()} still runs after {timeout_s:.0f} s",
                    "kubectl -n mlflow logs -l app=mlflow-migrate --tail 50",
                )
            if said_at is None or now - said_at >= 10:
                log.line(f"another migration runs, waiting up to {deadline - now:.0f} s for its end")
                said_at = now
            time.sleep(0.25)


def migrate(found: str | None) -> None:
    """Runs MLflow's own functions; imported here because they cost seconds."""
    gc.disable()
    absent.install()
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = utils.create_sqlalchemy_engine(database.uri())
    if found is None:
        # Also the way back from a first migration that died between the tables and the history.
        utils._initialize_tables(engine)
    else:
        utils._upgrade_db(engine)
    engine.dispose()
    # Opening the store verifies the schema and creates the default experiment.
    SqlAlchemyStore(database.uri(), settings.DEFAULT_ARTIFACT_ROOT)


def main() -> None:
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    connection = database.connect(
        settings.number("MLFLOW_DATABASE_TIMEOUT", CONNECT_TIMEOUT_S, 1)
    )
    lock(connection, settings.number("MLFLOW_MIGRATE_LOCK_TIMEOUT", LOCK_TIMEOUT_S, 1))
    schema = database.known_schema()
    found = database.revision(connection)
    database.refuse_unknown(found, schema)
    if found == schema["head"] and database.has_default_experiment(connection):
        log.line(f"{database.target()}: schema is at {found} already, nothing to do")
        return
    log.line(f"{database.target()}: migrating schema from {found or 'nothing'} to {schema['head']}")
    migrate(found)
    cpu = os.times()
    log.line(
        f"{database.target()}: schema is at {database.revision(connection)} after"
        f" {time.monotonic() - started:.1f} s ({cpu.user + cpu.system:.1f} s of processor time)"
    )
