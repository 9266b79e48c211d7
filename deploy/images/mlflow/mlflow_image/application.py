"""The ASGI application with its stores open, ready to serve: one import for server and workers."""

import ctypes
import gc
import logging
import warnings

# Hardly anything that an import makes is garbage, so looking for it costs a tenth of the start.
gc.disable()
warnings.filterwarnings("ignore", message=r"starlette\.middleware\.wsgi is deprecated")

from mlflow_image import absent, refusals, settings, traffic  # noqa: E402

absent.install()

from mlflow.server import app as flask_app  # noqa: E402
from mlflow.server.fastapi_app import app  # noqa: E402
from mlflow.server.handlers import initialize_backend_stores  # noqa: E402

__all__ = ["app"]

# What the probes of base/deployment.yaml ask for, every few seconds.
PROBES = ("/health", "/version", "/api/2.0/mlflow/experiments/search?max_results=1")


class WithoutProbes(logging.Filter):
    """Keeps the kubelet's requests out of the access log, unless they fail."""

    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn's five arguments: client, method, path, version, status.
        path, status = record.args[2], record.args[4]
        return path not in PROBES or status >= 400


logging.getLogger("uvicorn.access").addFilter(WithoutProbes())
traffic.install()
refusals.install(flask_app, app)

initialize_backend_stores(
    settings.backend_store(), settings.registry_store(), settings.DEFAULT_ARTIFACT_ROOT
)

gc.enable()
gc.collect()
# What stands now stays to the end: later collections need not visit it.
gc.freeze()
ctypes.CDLL(None).malloc_trim(0)
