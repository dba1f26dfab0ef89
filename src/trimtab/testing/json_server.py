"""A server on loopback that speaks JSON and can be made to fail, for the doubles of services with a REST API."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Query = dict[str, list[str]]
Things = dict[str, dict[str, Any]]


class JsonServer:
    """A context manager; `url` is what clients take. `failing` is an HTTP status for every call, or 0.

    `cuts` maps (method, path below `prefix`) to how many of its next calls lose their connection: `before` they take
    effect, or `after`. `token` is the bearer token wanted, "" for none. `calls` is all that was asked.
    """

    prefix = ""

    def __init__(self) -> None:
        self.failing = 0
        self.cuts: dict[tuple[str, str], tuple[str, int]] = {}
        self.token = ""
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def found(self, method: str, parts: list[str], query: Query, body: Any) -> tuple[int, Any]:
        """Status and JSON of one call: `parts` is its path below `prefix`. One call at a time."""
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> Any:
        """How this API says no."""
        return {"code": status, "message": message}

    def reply(self, method: str, path: str, query: Query, body: Any, token: str) -> tuple[int, Any] | None:
        """Status and JSON, or None for a connection that is lost."""
        below = path.removeprefix(self.prefix).strip("/")
        with self._lock:
            self.calls.append((method, below))
            kind, left = self.cuts.get((method, below), ("", 0))
            if left:
                self.cuts[method, below] = (kind, left - 1)
            if left and kind == "before":
                return None
            if self.token and token != f"Bearer {self.token}":
                said: tuple[int, Any] = (401, self.refusal(401, "no such token"))
            elif self.failing:
                said = (self.failing, self.refusal(self.failing, "as the test wants it"))
            elif not path.startswith(self.prefix):
                said = (404, self.refusal(404, path))
            else:
                said = self.found(method, below.split("/"), query, body)
        return None if left else said


def _handler(api: JsonServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            kind = self.headers.get("content-type", "")
            if kind.startswith("multipart/form-data"):
                border = b"--" + kind.partition("boundary=")[2].encode()
                body: Any = content.split(border)[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            else:
                body = json.loads(content or b"null")
            parts = urlsplit(self.path)
            token = self.headers.get("authorization", "")
            said = api.reply(self.command, parts.path, parse_qs(parts.query), body, token)
            if said is None:
                self.close_connection = True
                return
            text = json.dumps(said[1]).encode()
            self.send_response(said[0])
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_DELETE = _reply  # noqa: N815 - names of http.server

        def log_message(self, *details: Any) -> None:
            """Quiet."""

    return Handler
