"""A server on loopback that answers as the API of Kubeflow Pipelines 2.17 does, and remembers what it was sent.

Paths and fields are those of backend/api/v2beta1/swagger of kubeflow/pipelines: health, experiments, runs; pipelines,
their versions and the upload of one. It runs nothing: `finish` says how a run ended.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_PREFIX = "/apis/v2beta1"


class KfpApi:
    """A context manager; `url` is the host that clients take. `failing` is an HTTP status for every call, or 0.

    `cuts` maps (method, path below the version) to how many of its next calls lose their connection: `before` they
    take effect, or `after`. `token` is the bearer token wanted, "" for none. `on_run` is told of each new run.
    """

    def __init__(self) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.failing = 0
        self.cuts: dict[tuple[str, str], tuple[str, int]] = {}
        self.token = ""
        self.on_run: Callable[[dict[str, Any]], None] = lambda _run: None
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def finish(self, run_id: str, state: str = "SUCCEEDED", task_error: str = "") -> None:
        """Let a run end in `state` (RuntimeState of the API), perhaps because of a task."""
        run = self.runs[run_id]
        if task_error:
            task = {"display_name": "work", "state": "FAILED", "error": {"code": 2, "message": task_error}}
            run["run_details"] = {"task_details": [task]}
        run["state"] = state

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
        with self._lock:
            found = self._found(method, path.removeprefix(_PREFIX).strip("/").split("/"), query, body)
        if isinstance(found, int):
            return found, {"error": "refused", "code": 6, "message": f"{path} is refused"}
        return (200, found) if found is not None else (404, {"error": "not found", "code": 5, "message": path})

    def cut(self, method: str, path: str) -> str:
        """How this call loses its connection: before, after, or "" if it does not."""
        key = (method, path.removeprefix(_PREFIX).strip("/"))
        with self._lock:
            self.calls.append(key)
            kind, left = self.cuts.get(key, ("", 0))
            if not left:
                return ""
            self.cuts[key] = (kind, left - 1)
            return kind

    def _found(self, method: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Any:
        found: Any = None
        match method, parts:
            case "GET", ["healthz"]:
                found = {"multi_user": False}
            case "GET", ["experiments"]:
                found = {"experiments": _named(self.experiments, query), "total_size": len(self.experiments)}
            case "POST", ["experiments"]:
                found = _made(self.experiments, "experiment_id", body, "display_name")
            case "GET", ["runs"]:
                found = _page("runs", _named(self.runs, query), query)
            case "POST", ["runs"]:
                found = _made(self.runs, "run_id", {"state": "PENDING", **body})
                self.on_run(found)
            case "GET", ["runs", run_id]:
                found = self.runs.get(run_id)
            case "POST", ["runs", run_id] if run_id.endswith(":terminate"):
                self.runs[run_id.removesuffix(":terminate")]["state"] = "CANCELING"
                found = {}
            case _, ["pipelines", *rest]:
                found = self._of_pipelines(method, rest, query, body)
        return found

    def _of_pipelines(self, method: str, parts: list[str], query: dict[str, list[str]], body: Any) -> Any:
        match method, parts:
            case "GET", ["names", name]:
                return next((one for one in self.pipelines.values() if one["name"] == name), None)
            case "POST", []:
                return _made(self.pipelines, "pipeline_id", body, "name")
            case "GET", [pipeline_id, "versions"]:
                mine = {key: one for key, one in self.versions.items() if one["pipeline_id"] == pipeline_id}
                return _page("pipeline_versions", _named(mine, query), query)
            case "POST", ["upload_version"]:
                given: dict[str, Any] = {key: query[key][0] for key in ("name", "display_name") if key in query}
                spec: Any = next(iter(yaml.safe_load_all(body)))
                made: dict[str, Any] = {**given, "pipeline_id": query["pipelineid"][0], "pipeline_spec": spec}
                return _made(self.versions, "pipeline_version_id", made, "name")
        return None


def _made(those: dict[str, dict[str, Any]], id_key: str, body: Any, unique: str = "") -> Any:
    """A new one, or 409 if there is one of its name."""
    if unique and any(one.get(unique) == body.get(unique) for one in those.values()):
        return 409
    number = len(those) + 1
    id_ = f"{id_key.removesuffix('_id')}-{number}"
    those[id_] = {id_key: id_, **body, "created_at": f"2026-01-01T00:00:00.{number:06}Z"}
    return those[id_]


def _page(kind: str, found: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    """Two at a time, whatever was asked for: clients must follow the token."""
    start = int(query.get("page_token", ["0"])[0])
    more = {"next_page_token": str(start + 2)} if start + 2 < len(found) else {}
    return {kind: found[start : start + 2], "total_size": len(found), **more}


def _named(those: dict[str, dict[str, Any]], query: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Newest first, those of one name only if the filter asks for it."""
    wanted = json.loads(query.get("filter", ["{}"])[0]).get("predicates", [])
    names = {one.get("stringValue", one.get("string_value")) for one in wanted if one["key"] == "display_name"}
    return [one for one in reversed(those.values()) if not names or one.get("display_name") in names]


def _handler(api: KfpApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            kind = self.headers.get("content-type", "")
            if kind.startswith("multipart/form-data"):
                border = b"--" + kind.partition("boundary=")[2].encode()
                self._reply(content.split(border)[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
            else:
                self._reply(json.loads(content or b"null"))

        def _reply(self, body: Any) -> None:
            parts = urlsplit(self.path)
            cut = api.cut(self.command, parts.path)
            if cut == "before":
                self.close_connection = True
                return
            status, found = 401, {"error": "no such token", "code": 16, "message": "no such token"}
            if not api.token or self.headers.get("authorization") == f"Bearer {api.token}":
                status, found = api.answer(self.command, parts.path, parse_qs(parts.query), body)
            if cut == "after":
                self.close_connection = True
                return
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *details: Any) -> None:
            """Quiet."""

    return Handler
