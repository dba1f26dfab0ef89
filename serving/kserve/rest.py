"""KServe's REST server with our own prediction routes: one address, bounded bodies, one sentence for each mistake.

kserve's own routes for V1 and V2 predictions answer some malformed bodies with 500 and a traceback in the log, so those
paths are taken here; health, metadata and metrics stay kserve's.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from kserve import InferResponse, errors
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from trimtab.serving import tensors
from trimtab.serving.body_limit import BodyLimit
from trimtab.serving.refusals import Malformed, Unanswered
from trimtab.serving.whole_answers import WholeAnswers

BINARY_LENGTH = "inference-header-content-length"
_LIMIT = "serving.limits.maxBodyBytes"
_KSERVE_STATUS = {
    errors.InvalidInput: 400,
    errors.ModelNotFound: 404,
    NotImplementedError: 501,
    errors.ModelNotReady: 503,
    errors.ServerNotLive: 503,
    errors.ServerNotReady: 503,
}

log = logging.getLogger("trimtab.server")


class RestServer(RESTServer):  # type: ignore[misc]  # kserve has no types
    """Serves an application on a socket that is bound already; `stop` lets requests under way end."""

    def __init__(
        self, app: FastAPI, plane: DataPlane, repository: ModelRepositoryExtension, grace_seconds: int
    ) -> None:
        super().__init__(app, plane, repository, 0, grace_period=grace_seconds)
        self.config.access_log = False
        self.config.server_header = False
        self.config.http = WholeAnswers
        self._server.capture_signals = contextlib.nullcontext  # main decides what a signal does

    async def serve(self, listening: socket.socket) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[listening])

    def stop(self) -> None:
        """Take no new connection; end when the requests under way are answered."""
        self._server.should_exit = True


def application(
    plane: DataPlane,
    repository: ModelRepositoryExtension,
    version: str,
    max_body_bytes: int,
    count_unanswered: Callable[[int], None],
) -> FastAPI:
    """The ASGI application of one version; `count_unanswered` is told the status of predictions that were not made."""

    async def unanswered(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Unanswered)  # noqa: S101 - it is registered for these
        count_unanswered(error.status)
        again = {"retry-after": "5"} if error.status == 503 else None
        return JSONResponse({"error": str(error)}, error.status, again)

    app = FastAPI(title="trimtab model server", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes, setting=_LIMIT)
    _Predictions(plane, version).add_to(app)
    RESTServer(app, plane, repository, 0)._register_endpoints(app)
    app.add_exception_handler(Unanswered, unanswered)
    for kind, status in _KSERVE_STATUS.items():
        app.add_exception_handler(kind, _say(status))
    app.add_exception_handler(RequestValidationError, _say(400))
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)
    return app


class _Predictions:
    """V1 and V2 predictions."""

    def __init__(self, plane: DataPlane, version: str) -> None:
        self._plane = plane
        self._version = version

    def add_to(self, app: FastAPI) -> None:
        """Before kserve's routes, so that these are found first."""
        routes: list[tuple[str, Callable[[Request], Awaitable[Response]]]] = [
            ("/v1/models/{model}:predict", self.v1),
            ("/v1/models/{model}:explain", self.explain),
            ("/v2/models/{model}/infer", self.v2),
            ("/v2/models/{model}/versions/{version}/infer", self.v2),
        ]
        for path, endpoint in routes:
            app.router.add_route(path, endpoint, methods=["POST"], include_in_schema=False)

    async def v1(self, request: Request) -> Response:
        """{"instances": [...]} -> {"predictions": [...], "ids": [...], "version": "..."}; any content type."""
        payload = tensors.parse(await request.body())
        found, headers = await self._plane.infer(request.path_params["model"], payload, dict(request.headers))
        return _json(found, headers)

    async def v2(self, request: Request) -> Response:
        """The open inference protocol, with its binary extension."""
        model, version = request.path_params["model"], request.path_params.get("version", self._version)
        if version != self._version:
            raise HTTPException(404, f"version {version[:64]!r} is not served here; this server's is {self._version!r}")
        payload = tensors.request(await request.body(), _json_bytes(request), model)
        found, headers = await self._plane.infer(model, payload, dict(request.headers))
        assert isinstance(found, InferResponse)  # noqa: S101 - what BundleModel answers to an InferRequest
        content, json_bytes = found.to_rest()
        if json_bytes is None:
            return _json(content, headers)
        return Response(
            content, headers={**headers, BINARY_LENGTH: str(json_bytes)}, media_type="application/octet-stream"
        )

    async def explain(self, request: Request) -> Response:
        """There are no explanations."""
        raise NotImplementedError("this model gives no explanations")


def _json_bytes(request: Request) -> int | None:
    text = request.headers.get(BINARY_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise Malformed(f"{BINARY_LENGTH}: expected a number of bytes, found {text[:32]!r}")
    return int(text)


def _json(content: Any, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")


def _say(status: int) -> Any:
    async def handler(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status)

    return handler


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client went away before its body had come: nobody reads this."""
    return Response(status_code=400)


async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    """A mistake in the server: starlette raises it again, and uvicorn writes its traceback to the log."""
    return JSONResponse({"error": f"the server made a mistake ({type(error).__name__}); its log says more"}, 500)
