"""One version behind MLServer: its REST and gRPC servers, with their control endpoints shut.

python -m trimtab.serving.mlserver.server --name N --version V --bundle DIR --digest D --log-dir DIR --http-port P
"""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import uvloop
from mlserver import MLServer, ModelSettings, Settings
from mlserver.errors import MLServerError
from mlserver.settings import ModelParameters

from trimtab.errors import TrimtabError
from trimtab.serving import arguments
from trimtab.serving.asked import REQUEST_ID
from trimtab.serving.body_limit import BodyLimit
from trimtab.serving.mlserver.model import BundleModel
from trimtab.serving.served import load

MODULE = "trimtab.serving.mlserver.server"
_REFUSED, _FAILED = 2, 1


class _Off:
    """In the place of a server that was not asked for: MLServer starts and stops all of its servers together."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        await self._stopped.wait()

    async def stop(self, _signal: int | None = None) -> None:
        self._stopped.set()


async def _no_control(name: str) -> bool:
    """Loading and unloading over HTTP and gRPC: they would be control endpoints without a token."""
    raise MLServerError(f"{name[:64]} is loaded and unloaded by the controller, not by a client", 501)


def _named_by_header(prepare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """MLServer makes up an id for a request that has none: one in the header comes first."""

    def prepared(payload: Any, model: Any) -> Any:
        if payload.id is None and payload.parameters and payload.parameters.headers:
            payload.id = payload.parameters.headers.get(REQUEST_ID)
        return prepare(payload, model)

    return prepared


def made(given: Namespace) -> MLServer:
    """MLServer on the stated address; to be called in its event loop."""
    server = MLServer(
        Settings(
            host=given.host,
            http_port=given.http_port,
            grpc_port=given.grpc_port,
            grpc_max_message_length=given.max_body_bytes,
            metrics_port=given.metrics_port,
            metrics_endpoint="/metrics" if given.metrics_port else None,
            parallel_workers=0,  # workers would be processes with a log each, and one model fits into this one
            debug=False,
        )
    )
    server._data_plane._prepare_payload = _named_by_header(server._data_plane._prepare_payload)
    server._model_repository_handlers.load = _no_control
    server._model_repository_handlers.unload = _no_control
    server._rest_server._app.add_middleware(BodyLimit, max_bytes=given.max_body_bytes, setting="--max-body-bytes")
    if not given.grpc_port:
        server._grpc_server = _Off()
    return server


async def serve(given: Namespace) -> bool:
    """Serve until SIGTERM or SIGINT; whether the model could be served at all."""
    server = made(given)
    parameters = ModelParameters(version=given.version, uri=str(given.bundle))
    await server.start([ModelSettings(name=given.name, implementation=BundleModel, parameters=parameters)])
    models = await server._model_registry.get_models()
    for model in models:
        await model.unload()
    return bool(models)


def main(given: list[str]) -> int:
    """Verify, load, serve; returns the exit code: 0 after a stop, 2 with a sentence for what cannot be served."""
    parser = arguments.own_metrics(arguments.parser(MODULE, os.environ))
    parsed = arguments.parse(parser, given)
    served = arguments.served(parsed)
    try:
        load(served.bundle, served.digest)  # MLServer would tell of it in the middle of a traceback
    except TrimtabError as error:
        print(f"version {served.version} is not served: {error}", file=sys.stderr)
        return _REFUSED
    os.environ |= served.to_environment()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return 0 if runner.run(serve(parsed)) else _FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
