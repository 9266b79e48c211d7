"""The ASGI application with its stores open, ready to serve: one import for server and workers."""

import ctypes
import gc
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
