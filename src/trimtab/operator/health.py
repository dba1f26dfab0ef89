"""/healthz: whether the process is worth keeping."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Health:
    """Answers 200 while `well()`, else 503 so that the kubelet starts a new process."""

    def __init__(self, port: int, well: Callable[[], bool], host: str = "0.0.0.0") -> None:  # noqa: S104 - kubelet asks
        self._server = ThreadingHTTPServer((host, port), _handler(well))
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def _handler(well: Callable[[], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.partition("?")[0] == "/healthz"
            self.send_response((200 if well() else 503) if known else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *details: Any) -> None:
            """Quiet: it is asked every few seconds."""

    return Handler
