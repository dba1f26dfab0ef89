"""One version's model server: KServe's, on a stated address, with its control endpoints shut.

python -m trimtab.serving.kserve.server --name N --version V --bundle DIR --digest D --log-dir DIR --http-port P
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import warnings
from argparse import Namespace
from typing import Any

if __name__ == "__main__":  # kserve reads sys.argv when it is imported, and these arguments are not for it
    sys.argv, _ARGUMENTS = sys.argv[:1], sys.argv[1:]

from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from trimtab.adapters.records.journal import Journal
from trimtab.errors import TrimtabError
from trimtab.serving.kserve.arguments import parse
from trimtab.serving.kserve.metrics import ServerMetrics
from trimtab.serving.kserve.model import BundleModel, Settings
from trimtab.serving.kserve.rest import RestServer, application
from trimtab.serving.kserve.rpc import RpcServer
from trimtab.serving.served import load

GRACE_SECONDS = 10
_REFUSED, _FAILED = 2, 1

log = logging.getLogger("trimtab.server")


class _NoControl(ModelRepositoryExtension):  # type: ignore[misc]  # kserve has no types
    """Loading and unloading over HTTP and gRPC answer 501: they would be control endpoints without a token."""

    async def load(self, model_name: str) -> dict[str, Any]:
        raise NotImplementedError(f"{model_name[:64]} is loaded by the controller, not by a client")

    async def unload(self, model_name: str) -> dict[str, Any]:
        raise NotImplementedError(f"{model_name[:64]} is unloaded by the controller, not by a client")


class Plane(DataPlane):  # type: ignore[misc]  # kserve has no types
    """KServe's data plane, whose health is its model's: one that computes without end is neither live nor ready."""

    def __init__(self, model: BundleModel) -> None:
        models = ModelRepository()
        models.update(model)
        super().__init__(model_registry=models)
        self.repository = _NoControl(models)
        self._model = model

    async def live(self) -> dict[str, str]:
        """{"status": "alive"} unless the model hangs."""
        return {"status": "stuck" if self._model.stuck else "alive"}

    async def ready(self) -> bool:
        """Whether a prediction can be asked for."""
        return not self._model.stuck


async def serve(model: BundleModel, host: str, http: socket.socket, grpc_port: int, max_body_bytes: int) -> bool:
    """Serve until SIGTERM or SIGINT; returns whether all requests that were taken by then were answered.

    Raises OSError for a taken gRPC port.
    """
    plane = Plane(model)
    parts = plane, plane.repository, model.version, max_body_bytes, model.count_unanswered
    app = application(*parts)
    rest = RestServer(app, plane, plane.repository, GRACE_SECONDS)
    rpc = RpcServer(*parts)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if grpc_port:
        await rpc.start(f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}")
    serving = asyncio.create_task(rest.serve(http))
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    rest.stop()
    await asyncio.gather(serving, rpc.stop(GRACE_SECONDS))
    return not model.busy


def main(given: list[str]) -> int:
    """Verify, load, serve; returns the exit code: 0 after a stop, 2 with a sentence for what cannot be served."""
    arguments = parse(given)
    warnings.filterwarnings("ignore", module="fastapi")  # kserve's use of FastAPI is not for the reader of this log
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        predictor = load(arguments.bundle, arguments.digest)
        journal = None if arguments.no_log else Journal(arguments.log_dir, f"{arguments.name}-v{arguments.version}")
    except TrimtabError as error:
        print(f"version {arguments.version} is not served: {error}", file=sys.stderr)
        return _REFUSED
    metrics = ServerMetrics(arguments.name, arguments.version, arguments.digest)
    model = BundleModel(arguments.name, predictor, journal, _settings(arguments), metrics)
    try:
        family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
        with socket.create_server((arguments.host, arguments.http_port), family=family, backlog=2048) as http:
            served = serve(model, arguments.host, http, arguments.grpc_port, arguments.max_body_bytes)
            with asyncio.Runner(loop_factory=_fast_loop()) as runner:
                answered = runner.run(served)
    except OSError as error:
        where = f"{arguments.host}, port {arguments.http_port} (gRPC: {arguments.grpc_port})"
        print(f"version {arguments.version} cannot listen on {where}: {error.strerror or error}", file=sys.stderr)
        return _FAILED
    finally:
        model.stop()
        if journal is not None:
            journal.close()
    return 0 if answered else _FAILED


def _settings(arguments: Namespace) -> Settings:
    return Settings(
        version=arguments.version,
        max_rows=arguments.max_rows,
        max_batch_rows=arguments.max_batch_rows,
        log_scores=not arguments.no_scores,
        when_full=arguments.when_full,
        virtual_time=arguments.accept_time_header,
        stuck_seconds=arguments.stuck_seconds,
    )


def _fast_loop() -> Any:
    import uvicorn

    return uvicorn.Config("", log_config=None).get_loop_factory()


if __name__ == "__main__":
    code = main(_ARGUMENTS)
    sys.stderr.flush()
    # A model that still computes would keep its thread, and with it this process, for ever.
    os._exit(code)
