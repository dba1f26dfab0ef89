"""A real git repository over HTTP for tests: `git http-backend` behind a password."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class GitHttp:
    """Serves the repository at `path`; `credentials` is NAME:PASSWORD."""

    def __init__(self, path: Path, credentials: str) -> None:
        self.refused = 0
        wanted = "Basic " + base64.b64encode(credentials.encode()).decode()
        subprocess.run(["git", "-C", str(path), "config", "http.receivepack", "true"], check=True)
        served = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                if self.headers.get("authorization") != wanted:
                    served.refused += 1
                    self.send_response(401)
                    self.send_header("www-authenticate", 'Basic realm="git"')
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                _backend(self, path)

            do_GET = do_POST = _any  # noqa: N815 - names of http.server

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of http.server
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{path.name}"

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _backend(handler: BaseHTTPRequestHandler, path: Path) -> None:
    """Let git's own CGI answer."""
    url = urlsplit(handler.path)
    if handler.headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(handler.rfile.readline(), 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
    else:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
    if handler.headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(path.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": handler.command,
        "PATH_INFO": url.path,
        "QUERY_STRING": url.query,
        "CONTENT_TYPE": handler.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_USER": "loop",
        "REMOTE_ADDR": "127.0.0.1",
    }
    done = subprocess.run(
        ["git", "http-backend"], input=body, env=environment, capture_output=True, timeout=60, check=True
    )
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    handler.send_response(int(headers.pop("Status", "200 OK").split()[0]))
    for name, value in {**headers, "content-length": str(len(answer))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(answer)
