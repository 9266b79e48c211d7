"""mlflow-server: the tracking server in one process, instead of the six of `mlflow server`."""

import gc
import os
import signal
import sys
import threading
import time
import traceback
import warnings

from mlflow_image import absent, database, log, settings

DATABASE_TIMEOUT_S = 30
# A migration of a large database takes its time; the server comes back when the kubelet restarts it.
SCHEMA_TIMEOUT_S = 120
GRACE_S = 5
# Above the 600 s for which Google's load balancer keeps a connection, or it would send requests
# into connections that the server is closing.
KEEP_ALIVE_S = 620


def stop(_signal, _frame) -> None:
    # As process 1 of a container we would otherwise not notice SIGTERM before uvicorn runs.
    sys.exit(0)


def wait_for_database() -> None:
    """Runs beside the imports, which take longer when all is well."""
    try:
        connection = database.connect(settings.number("MLFLOW_DATABASE_TIMEOUT", DATABASE_TIMEOUT_S, 1))
        database.wait_for_schema(connection, SCHEMA_TIMEOUT_S)
        connection.close()
    except SystemExit as end:
        # Only the main thread can end the process by an exception.
        os._exit(end.code)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    started = time.monotonic()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    settings.check()
    settings.export()
    workers = settings.number("MLFLOW_WORKERS", 1, 1)
    port = settings.number("MLFLOW_PORT", 5000, 1)
    log.line(
        f"{database.target()}, artifacts in {settings.artifacts_destination()}, workers: {workers}"
    )
    waiting = threading.Thread(target=wait_for_database, name="wait-for-database", daemon=True)
    waiting.start()
    import uvicorn

    options = {
        "host": os.environ.get("MLFLOW_HOST") or "0.0.0.0",
        "port": port,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": GRACE_S,
        "server_header": False,
    }
    if workers > 1:
        waiting.join()
        uvicorn.run("mlflow_image.application:app", workers=workers, **options)
        return
    # A warning about MLflow's own imports tells its operator nothing.
    warnings.filterwarnings("ignore", message=r"starlette\.middleware\.wsgi is deprecated")
    # The import is most of the start; the stores are opened at its end, after the wait.
    gc.disable()
    absent.install()
    import mlflow.server.fastapi_app  # noqa: F401

    waiting.join()
    from mlflow_image.application import app

    cpu = os.times()
    log.line(
        f"ready to serve after {time.monotonic() - started:.1f} s"
        f" ({cpu.user + cpu.system:.1f} s of processor time)"
    )
    uvicorn.run(app, **options)
