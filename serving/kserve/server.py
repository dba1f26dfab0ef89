"""One version's model server: KServe's, on a stated address, with its control endpoints shut.

python -m trimtab.serving.kserve.server --name N --version V --bundle DIR --digest sha256:... --log-dir DIR --http-port P
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import warnings
from concurrent import futures
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # kserve reads sys.argv when it is imported, and these arguments are not for it
    sys.argv, _ARGUMENTS = sys.argv[:1], sys.argv[1:]

import kserve.model_server  # noqa: E402
from fastapi import FastAPI, Request  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402
from grpc import aio  # noqa: E402
from kserve import ModelServer  # noqa: E402
from kserve.errors import InvalidInput  # noqa: E402
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc  # noqa: E402
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor  # noqa: E402
from kserve.protocol.grpc.server import GRPCServer  # noqa: E402
from kserve.protocol.grpc.servicer import InferenceServicer  # noqa: E402
from kserve.protocol.model_repository_extension import ModelRepositoryExtension  # noqa: E402
from kserve.protocol.rest.server import RESTServer  # noqa: E402

from trimtab.adapters.records.journal import Journal  # noqa: E402
from trimtab.errors import TrimtabError  # noqa: E402
from trimtab.serving.asked import Refused  # noqa: E402
from trimtab.serving.body_limit import BodyLimit  # noqa: E402
from trimtab.serving.kserve.metrics import ServerMetrics  # noqa: E402
from trimtab.serving.kserve.model import BundleModel, LogUnavailable, Settings  # noqa: E402
from trimtab.stages import bundle  # noqa: E402

_GRACE_SECONDS = 20


class _NoControl(ModelRepositoryExtension):  # type: ignore[misc] - kserve has no types
    """Loading and unloading over HTTP and gRPC answer 501: they would be control endpoints without a token."""

    async def load(self, model_name: str) -> dict[str, Any]:
        raise NotImplementedError(f"{model_name} is loaded by the controller, not by a client")

    async def unload(self, model_name: str) -> dict[str, Any]:
        raise NotImplementedError(f"{model_name} is unloaded by the controller, not by a client")


class _Rest(RESTServer):  # type: ignore[misc] - kserve has no types
    """KServe's REST server with a body limit, our status codes, and no timing log a request."""

    max_body_bytes = 0

    def _add_middlewares(self, app: FastAPI) -> None:
        app.add_middleware(BodyLimit, max_bytes=self.max_body_bytes)

    def _add_exception_handlers(self, app: FastAPI) -> None:
        super()._add_exception_handlers(app)
        app.add_exception_handler(Refused, _say(422))
        app.add_exception_handler(InvalidInput, _say(400))
        app.add_exception_handler(LogUnavailable, _say(503))


class _Grpc(GRPCServer):  # type: ignore[misc] - kserve has no types
    """KServe's gRPC server on one address, which its own cannot be told."""

    host = "127.0.0.1"

    async def start(self, max_workers: int) -> None:
        limits = [(f"grpc.max_{way}_message_length", self._kwargs["max_body_bytes"]) for way in ("send", "receive")]
        self._server = aio.server(
            futures.ThreadPoolExecutor(max_workers=max_workers),
            interceptors=(ExceptionToStatusInterceptor(),),
            options=limits,
        )
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(f"{self.host}:{self._port}")
        await self._server.start()
        await self._server.wait_for_termination()


class _Server(ModelServer):  # type: ignore[misc] - kserve has no types
    """KServe's model server with both addresses stated."""

    def serve(self, model: BundleModel, host: str, max_body_bytes: int) -> None:
        """Serve until SIGTERM or SIGINT; requests already taken are answered."""
        self._register_and_check_atleast_one_model_is_ready([model])
        self.model_repository_extension = _NoControl(self.registered_models)
        self._rest_server = _Rest(
            "kserve.model_server:app",
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=_GRACE_SECONDS,
        )
        self._rest_server.max_body_bytes = max_body_bytes
        self._rest_server.config.host = host
        self._rest_server.config.access_log = False
        self.servers.append(self._rest_server.start())
        if self.enable_grpc:
            self._grpc_server = _Grpc(
                self.grpc_port,
                self.dataplane,
                self.model_repository_extension,
                kwargs={"max_body_bytes": max_body_bytes},
                grace_period=_GRACE_SECONDS,
            )
            self._grpc_server.host = host
            self.servers.append(self._grpc_server.start(2))
        self.register_signal_handler()
        asyncio.run(self._serve())


def _say(status: int) -> Any:
    async def handler(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status, {"retry-after": "5"} if status == 503 else None)

    return handler


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m trimtab.serving.kserve.server", description="Serve one model version."
    )
    parser.add_argument("--name", required=True, help="the model's name in the URL")
    parser.add_argument("--version", required=True, help="the version, for answers, log and metrics")
    parser.add_argument("--bundle", required=True, type=Path, help="the bundle's folder")
    parser.add_argument("--digest", required=True, help="the digest that the registry vouches for")
    parser.add_argument("--log-dir", required=True, type=Path, help="folder of the prediction log")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--http-port", required=True, type=int, help="port of V1 and V2 REST")
    parser.add_argument("--grpc-port", type=int, default=0, help="port of V2 gRPC; 0 turns it off")
    parser.add_argument("--max-rows", type=int, default=1000, help="most rows in one request")
    parser.add_argument("--max-batch-rows", type=int, default=64, help="most rows computed at once")
    parser.add_argument("--max-body-bytes", type=int, default=4 << 20, help="largest request body")
    parser.add_argument(
        "--when-full", choices=("refuse", "serve"), default="refuse", help="what to do when the log has no room"
    )
    parser.add_argument("--no-scores", action="store_true", help="do not log scores")
    parser.add_argument("--accept-time-header", action="store_true", help="replay: requests carry their own time")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Verify, load, serve; returns the exit code: 0 after a stop, 1 with a sentence for what cannot be served."""
    arguments = _arguments(given)
    warnings.filterwarnings("ignore", module="fastapi")  # kserve's use of FastAPI is not for the reader of this log
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        predictor = bundle.load(arguments.bundle, arguments.digest)
        journal = Journal(arguments.log_dir, f"{arguments.name}-v{arguments.version}")
    except TrimtabError as error:
        print(f"version {arguments.version} is not served: {error}", file=sys.stderr)
        return 1
    settings = Settings(
        version=arguments.version,
        max_rows=arguments.max_rows,
        max_batch_rows=arguments.max_batch_rows,
        log_scores=not arguments.no_scores,
        when_full=arguments.when_full,
        virtual_time=arguments.accept_time_header,
    )
    model = BundleModel(arguments.name, predictor, journal, settings, ServerMetrics(arguments.name, arguments.version))
    server = _Server(
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        enable_grpc=arguments.grpc_port > 0,
        enable_latency_logging=False,
        access_log_format=None,
    )
    try:
        server.serve(model, arguments.host, arguments.max_body_bytes)
    finally:
        journal.close()
    return 0


if __name__ == "__main__":
    kserve.model_server.args.configure_logging = False
    sys.exit(main(_ARGUMENTS))
