"""The log writer: takes labels at /v1/feedback and turns both logs into Parquet.

python -m trimtab.serving.collector --home DIR --port P
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
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.errors import StorageFull
from trimtab.serving.asked import VIRTUAL_TIME, read_time
from trimtab.serving.body_limit import BodyLimit
from trimtab.serving.labels import Label, read
from trimtab.serving.refusals import Unanswered, Unavailable
from trimtab.serving.whole_answers import WholeAnswers

_MOST_BYTES = 4 << 20
_EVERY_SECONDS = 5.0
_GRACE_SECONDS = 10
_TOKEN = "TRIMTAB_FEEDBACK_TOKEN"  # noqa: S105 - the name of the variable that holds it

log = logging.getLogger("trimtab.collector")


class Collector:
    """The two logs, and how they fare."""

    def __init__(self, home: Path) -> None:
        """Raises StorageFull if the label log cannot be made."""
        self._labels = Journal(home / "labels", "feedback", segment_seconds=2.0)
        self._folders = (RecordFolder(home / "predictions", PREDICTIONS), RecordFolder(home / "labels", LABELS))
        self._compacting = threading.Lock()
        self.trouble = ""
        self.registry = CollectorRegistry()
        self._accepted = Counter("trimtab_labels_total", "Labels accepted", registry=self.registry)
        self._compacted = Counter(
            "trimtab_segments_compacted_total", "Journal segments turned to Parquet", registry=self.registry
        )
        self._full = Gauge("trimtab_log_trouble", "1 while a log cannot be written", registry=self.registry)

    def take(self, labels: list[Label], time: datetime) -> int:
        """Store the labels safely; raises StorageFull, and then none of them is stored."""
        stamp = time.isoformat()
        self._labels.append([{"id": one.id, "label": one.text, "time": stamp, "source": "http"} for one in labels])
        self._accepted.inc(len(labels))
        return len(labels)

    def compact(self) -> None:
        """One pass over both logs; trouble is told by /healthz and tried again at the next pass."""
        with self._compacting:  # the last pass, at a stop, may meet one under way
            trouble = ""
            for folder in self._folders:
                try:
                    self._compacted.inc(folder.compact())
                except StorageFull as error:
                    trouble = str(error)
                except Exception as error:  # the passes must go on, whatever a damaged segment does
                    trouble = f"a segment could not be turned into Parquet: {type(error).__name__}: {error}"
                    if trouble != self.trouble:
                        log.exception("compaction failed")
            if trouble and trouble != self.trouble:
                log.error("%s", trouble)
            self.trouble = trouble
            self._full.set(bool(trouble))

    def close(self) -> None:
        """Seal and compact all that is there."""
        self._labels.close()
        self.compact()


def application(
    collector: Collector, virtual_time: bool, every_seconds: float = _EVERY_SECONDS, numbers: bool = False
) -> FastAPI:
    """The HTTP face; with `numbers` a label that is no number is refused."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_compact_forever(collector, every_seconds))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(collector.close)

    app = FastAPI(title="trimtab collector", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=_MOST_BYTES, setting="send fewer labels at once")
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

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "trouble" if collector.trouble else "ok", "trouble": collector.trouble})

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(collector.registry), media_type="text/plain; version=0.0.4")

    app.router.add_route("/v1/feedback", feedback, methods=["POST"])
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


async def _compact_forever(collector: Collector, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(collector.compact)


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
    parser.add_argument("--accept-time-header", action="store_true", help="replay: calls carry their own time")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        collector = Collector(arguments.home)
        family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
        with socket.create_server((arguments.host, arguments.port), family=family, backlog=2048) as listening:
            app = application(collector, arguments.accept_time_header, arguments.every, arguments.numbers)
            asyncio.run(_serve(app, listening))
    except StorageFull as error:
        sys.exit(f"the collector cannot start: {error}")
    except (OSError, OverflowError) as error:
        sys.exit(f"the collector cannot listen on {arguments.host}, port {arguments.port}: {error}")


if __name__ == "__main__":
    main()
