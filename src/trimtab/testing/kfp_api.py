"""A server on loopback that answers as the API of Kubeflow Pipelines 2.17 does, and remembers what it was sent.

Paths and fields are those of backend/api/v2beta1/swagger of kubeflow/pipelines: health, experiments, runs. It runs
nothing: `finish` says how a run ended.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PREFIX = "/apis/v2beta1"


class KfpApi:
    """A context manager; `url` is the host that clients take. `failing` is an HTTP status for every call, or 0."""

    def __init__(self) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.failing = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def finish(self, run_id: str, state: str = "SUCCEEDED") -> None:
        """Let a run end in `state` (RuntimeState of the API)."""
        self.runs[run_id]["state"] = state

    def __enter__(self) -> KfpApi:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and JSON of one call."""
        if self.failing:
            return self.failing, {"error": "as the test wants it", "code": 13, "message": "as the test wants it"}
        found = self._found(method, path.removeprefix(_PREFIX).strip("/").split("/"), query, body)
        return (200, found) if found is not None else (404, {"error": "not found", "code": 5, "message": path})

    def _found(self, method: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Any:
        found: Any = None
        match method, parts:
            case "GET", ["healthz"]:
                found = {"multi_user": False}
            case "GET", ["experiments"]:
                found = {"experiments": self._named(query), "total_size": len(self.experiments)}
            case "POST", ["experiments"]:
                found = {"experiment_id": f"experiment-{len(self.experiments) + 1}", **body}
                self.experiments[found["experiment_id"]] = found
            case "POST", ["runs"]:
                found = {"run_id": f"run-{len(self.runs) + 1}", "state": "PENDING", **body}
                self.runs[found["run_id"]] = found
            case "GET", ["runs", run_id]:
                found = self.runs.get(run_id)
        return found

    def _named(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """Experiments, those of one name only if the filter asks for it."""
        wanted = json.loads(query.get("filter", ["{}"])[0]).get("predicates", [])
        names = {one.get("stringValue", one.get("string_value")) for one in wanted if one["key"] == "display_name"}
        return [one for one in self.experiments.values() if not names or one.get("display_name") in names]


def _handler(api: KfpApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            self._reply(json.loads(self.rfile.read(length) or b"null"))

        def _reply(self, body: Any) -> None:
            parts = urlsplit(self.path)
            status, found = api.answer(self.command, parts.path, parse_qs(parts.query), body)
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *details: Any) -> None:
            """Quiet."""

    return Handler
