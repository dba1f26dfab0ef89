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
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.errors import StorageFull
from trimtab.serving.body_limit import BodyLimit

MOST_LABELS = 10_000
_MOST_BYTES = 4 << 20
_EVERY_SECONDS = 5.0
_TOKEN = "TRIMTAB_FEEDBACK_TOKEN"  # noqa: S105 - the name of the variable that holds it

log = logging.getLogger("trimtab.collector")


class Label(BaseModel):
    """One label: the id of the request (or of its row) and what turned out to be true."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: str = Field(min_length=1, max_length=300)
    label: StrictBool | StrictInt | StrictFloat | StrictStr


class Labels(BaseModel):
    """Many labels in one call."""

    model_config = ConfigDict(extra="forbid")

    labels: list[Label] = Field(min_length=1, max_length=MOST_LABELS)


class Collector:
    """The two logs, and how they fare."""

    def __init__(self, home: Path) -> None:
        self._labels = Journal(home / "labels", "feedback", segment_seconds=2.0)
        self._folders = (RecordFolder(home / "predictions", PREDICTIONS), RecordFolder(home / "labels", LABELS))
        self.trouble = ""
        self.registry = CollectorRegistry()
        self._accepted = Counter("trimtab_labels_total", "Labels accepted", registry=self.registry)
        self._compacted = Counter(
            "trimtab_segments_compacted_total", "Journal segments turned to Parquet", registry=self.registry
        )
        self._full = Gauge("trimtab_log_trouble", "1 while a log cannot be written", registry=self.registry)

    def take(self, labels: list[Label], time: datetime) -> int:
        """Store the labels safely; raises StorageFull."""
        self._labels.append(
            [{"id": one.id, "label": _text(one.label), "time": time.isoformat(), "source": "http"} for one in labels]
        )
        self._accepted.inc(len(labels))
        return len(labels)

    def compact(self) -> None:
        """One pass over both logs; trouble is told by /healthz and tried again at the next pass."""
        trouble = ""
        for folder in self._folders:
            try:
                self._compacted.inc(folder.compact())
            except StorageFull as error:
                trouble = str(error)
        if trouble and trouble != self.trouble:
            log.error("%s", trouble)
        self.trouble = trouble
        self._full.set(bool(trouble))

    def close(self) -> None:
        """Seal and compact all that is there."""
        self._labels.close()
        self.compact()


def application(collector: Collector, virtual_time: bool, every_seconds: float = _EVERY_SECONDS) -> FastAPI:
    """The HTTP face."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_compact_forever(collector, every_seconds))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        collector.close()

    app = FastAPI(title="trimtab collector", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=_MOST_BYTES)
    app.add_exception_handler(RequestValidationError, _explain)
    token = os.environ.get(_TOKEN, "")

    @app.post("/v1/feedback", status_code=202)
    async def feedback(
        request: Request,
        authorization: Annotated[str, Header()] = "",
        x_trimtab_time: Annotated[str | None, Header()] = None,
    ) -> dict[str, int]:
        if token and not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, f"a bearer token is wanted (the one in {_TOKEN} of the collector)")
        labels = _parse(await request.body())
        try:
            return {"accepted": collector.take(labels, _when(x_trimtab_time if virtual_time else None))}
        except StorageFull as error:
            raise HTTPException(503, str(error), {"retry-after": "5"}) from error

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "trouble" if collector.trouble else "ok", "trouble": collector.trouble})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(collector.registry), media_type="text/plain; version=0.0.4")

    return app


def _parse(body: bytes) -> list[Label]:
    """One label or many; 422 with every problem's place."""
    shape: type[BaseModel] = Labels if b'"labels"' in body[:64] else Label
    try:
        found: Any = shape.model_validate_json(body)
    except ValidationError as error:
        said = [
            f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}"
            for one in error.errors(include_url=False)[:10]
        ]
        wanted = 'expected {"id": "...", "label": ...} or {"labels": [{...}, ...]}'
        raise HTTPException(422, f"{'; '.join(said)}. {wanted}") from error
    return list(found.labels) if isinstance(found, Labels) else [found]


def _when(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise HTTPException(400, f"x-trimtab-time: {text[:64]!r} is no ISO 8601 time") from None


def _text(label: bool | float | str) -> str:
    return label if isinstance(label, str) else str(label)


async def _explain(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, 422)


async def _compact_forever(collector: Collector, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        await asyncio.to_thread(collector.compact)


def main() -> None:
    """Serve until SIGTERM; then seal and compact everything."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.serving.collector", description="Take labels, write logs.")
    parser.add_argument("--home", required=True, type=Path, help="the loop's state folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", required=True, type=int, help="port to listen on")
    parser.add_argument("--accept-time-header", action="store_true", help="replay: calls carry their own time")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        collector = Collector(arguments.home)
    except StorageFull as error:
        sys.exit(f"the collector cannot start: {error}")
    app = application(collector, arguments.accept_time_header)
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
    )


if __name__ == "__main__":
    main()
