"""The log writer: takes labels and payloads, turns both logs into Parquet and ships that to an object store.

python -m trimtab.serving.collector --home DIR --port P [--store s3://bucket/prefix] [--payloads LOOP]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from trimtab.adapters.records.places import STORE
from trimtab.errors import Refused, StorageFull
from trimtab.serving.asked import VIRTUAL_TIME, read_time
from trimtab.serving.body_limit import BodyLimit
from trimtab.serving.labels import read
from trimtab.serving.logs import MOST_SPOOLED_BYTES, Collector, Store
from trimtab.serving.refusals import Unanswered, Unavailable
from trimtab.serving.whole_answers import WholeAnswers

_MOST_BYTES = 4 << 20
_EVERY_SECONDS = 5.0
_GRACE_SECONDS = 10
_TOKEN = "TRIMTAB_FEEDBACK_TOKEN"  # noqa: S105 - the name of the variable that holds it


def application(
    collector: Collector, virtual_time: bool, every_seconds: float = _EVERY_SECONDS, numbers: bool = False
) -> FastAPI:
    """The HTTP face; with `numbers` a label that is no number is refused."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_work_forever(collector, every_seconds))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(collector.close)

    app = FastAPI(title="trimtab collector", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=_MOST_BYTES, setting="send fewer labels, or a smaller payload, at once")
    app.add_exception_handler(Unanswered, _unanswered)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    token = os.environ.get(_TOKEN, "")

    async def feedback(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, f"a bearer token is wanted (the one in {_TOKEN} of the collector)")
        time = read_time(request.headers.get(VIRTUAL_TIME) if virtual_time else None)
        labels = read(await request.body(), numbers)
        try:
            return JSONResponse({"accepted": collector.take(labels, time)}, 202)
        except StorageFull as error:
            raise Unavailable(str(error)) from error

    async def payloads(request: Request) -> Response:
        headers = {name.lower(): text for name, text in request.headers.items()}
        try:
            collector.take_events(headers, await request.body(), datetime.now(UTC))
        except StorageFull as error:
            raise Unavailable(str(error)) from error
        return Response(status_code=200)  # without a body, which an event broker would take for an event

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "trouble" if collector.trouble else "ok", "trouble": collector.trouble})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(collector.registry), media_type="text/plain; version=0.0.4")

    app.router.add_route("/v1/feedback", feedback, methods=["POST"])
    app.router.add_route("/v1/payloads", payloads, methods=["POST"])
    app.router.add_route("/healthz", healthz, methods=["GET"])
    app.router.add_route("/metrics", metrics, methods=["GET"])
    return app


async def _unanswered(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Unanswered)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": str(error)}, error.status, {"retry-after": "5"} if error.status == 503 else None)


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it: the client went away before its body had come


async def _work_forever(collector: Collector, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        collector.tend(datetime.now(UTC))
        await asyncio.to_thread(collector.work)


async def _serve(app: FastAPI, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, http=WholeAnswers, log_level="warning", access_log=False, timeout_graceful_shutdown=_GRACE_SECONDS
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]  # to end with code 0

    def stop() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await server.serve(sockets=[listening])


def main() -> None:
    """Serve until SIGTERM; then seal and compact everything."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.serving.collector", description="Take labels, write logs.")
    parser.add_argument("--home", required=True, type=Path, help="the loop's state folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", required=True, type=int, help="port to listen on")
    parser.add_argument("--every", type=float, default=_EVERY_SECONDS, help="seconds between two passes over the logs")
    parser.add_argument("--numbers", action="store_true", help="every label must be a number")
    parser.add_argument("--store", default=os.environ.get(STORE, ""), help="s3://bucket/prefix that Parquet goes to")
    parser.add_argument(
        "--spool-bytes", type=int, default=MOST_SPOOLED_BYTES, help="most that may wait here while the store is down"
    )
    parser.add_argument(
        "--payloads",
        nargs="?",
        const="",
        metavar="LOOP",
        help="take KServe's payload log at /v1/payloads, of this loop's InferenceServices or of all",
    )
    parser.add_argument("--accept-time-header", action="store_true", help="replay: calls carry their own time")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        store = Store(arguments.store, arguments.spool_bytes) if arguments.store else None
        collector = Collector(arguments.home, store, arguments.payloads)
        family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
        with socket.create_server((arguments.host, arguments.port), family=family, backlog=2048) as listening:
            app = application(collector, arguments.accept_time_header, arguments.every, arguments.numbers)
            asyncio.run(_serve(app, listening))
    except (Refused, StorageFull) as error:
        sys.exit(f"the collector cannot start: {error}")
    except (OSError, OverflowError) as error:
        sys.exit(f"the collector cannot listen on {arguments.host}, port {arguments.port}: {error}")


if __name__ == "__main__":
    main()
