"""Answers in MLflow's own form, with 501, where a request needs a package that the image leaves out."""

import json

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from flask import Flask, Response, request

from mlflow_image import absent, log

DEMO = "/ajax-api/3.0/mlflow/demo/generate"


def body(message: str) -> dict:
    return {"error_code": "NOT_IMPLEMENTED", "message": message}


def install(flask_app: Flask, fastapi_app: FastAPI) -> None:
    def refuse_flask(error: ModuleNotFoundError) -> Response:
        log.line(f"refused {request.method} {request.path}: {error}")
        return Response(json.dumps(body(str(error))), 501, mimetype="application/json")

    async def refuse_fastapi(incoming, error: ModuleNotFoundError) -> JSONResponse:
        log.line(f"refused {incoming.method} {incoming.url.path}: {error}")
        return JSONResponse(body(str(error)), 501)

    def refuse_demo() -> Response | None:
        # It would make half of its data before it comes to pandas.
        if request.method == "POST" and request.path.endswith(DEMO):
            return refuse_flask(absent.missing("pandas"))
        return None

    flask_app.register_error_handler(ModuleNotFoundError, refuse_flask)
    flask_app.before_request(refuse_demo)
    fastapi_app.add_exception_handler(ModuleNotFoundError, refuse_fastapi)
