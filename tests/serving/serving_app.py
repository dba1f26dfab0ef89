"""The model server's application in this process, over a real bundle and a real journal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.serving.kserve.metrics import ServerMetrics
from trimtab.serving.kserve.model import BundleModel, Settings
from trimtab.serving.kserve.rest import application
from trimtab.serving.kserve.server import Plane
from trimtab.stages.bundle import Predictor

GOOD = {"weight": 40.5, "hindfoot": 30.5, "sex": "M", "plot": 3}
V1, V2 = "/v1/models/m:predict", "/v2/models/m/infer"
_EVER = (datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))


@dataclass
class Served:
    """One version; `ask` sends a request and returns status, JSON and headers."""

    model: BundleModel
    app: Any
    folder: Path
    registry: CollectorRegistry

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, httpx.Headers]:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return asyncio.run(
            self.send(method, path, content, {key.replace("_", "-"): text for key, text in headers.items()})
        )

    def rows(self, *rows: Any, **headers: str) -> tuple[int, Any, httpx.Headers]:
        return self.ask("POST", V1, {"instances": list(rows)}, **headers)

    async def send(
        self, method: str, path: str, content: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Any, httpx.Headers]:
        # A mistake of the server is raised here, not turned into a 500.
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://server") as client:
            answer = await client.request(method, path, content=content, headers=headers)
        kind = answer.headers.get("content-type", "")
        return answer.status_code, answer.json() if "json" in kind else answer.content, answer.headers

    def log(self) -> list[dict[str, Any]]:
        return RecordFolder(self.folder, PREDICTIONS).read(*_EVER).to_pylist()


def serve(predictor: Predictor, folder: Path, max_body_bytes: int = 4 << 20, **settings: Any) -> Served:
    registry = CollectorRegistry()
    model = BundleModel(
        "m", predictor, Journal(folder, "m"), Settings("7", **settings), ServerMetrics("m", "7", "sha256:ab", registry)
    )
    plane = Plane(model)
    return Served(
        model, application(plane, plane.repository, "7", max_body_bytes, model.count_unanswered), folder, registry
    )


def tensors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows as V2 JSON inputs, one a column."""
    kinds = {str: "BYTES", int: "INT64", float: "FP64", bool: "BOOL", type(None): "FP64"}
    return [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": kinds[type(rows[0][name])],
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
