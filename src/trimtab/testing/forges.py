"""Hosts of pull requests for tests: what `github_host` and `gitlab_host` have in common.

What people do in the browser are methods: `merge` and `close`. `faults` are answered first, one a request.
"""

from __future__ import annotations

import json
import threading
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from trimtab.testing.git_places import Person, Place

Json = dict[str, Any]


@dataclass
class Request:
    """A pull request as the host keeps it."""

    number: int
    head: str
    base: str
    title: str
    body: str
    state: Literal["open", "merged", "closed"] = "open"
    who: str = ""
    comments: list[str] = field(default_factory=list)


class Answered(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, dict(headers or {})


class Forge:
    """A host with one repository, `acme/releases`."""

    def __init__(self, place: Place, token: str = "right") -> None:  # noqa: S107 - of a test
        self.place, self.token = place, token
        self.requests: list[Request] = []
        self.faults: list[Answered] = []
        self.asked: list[str] = []  # method and path of each call
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                forge._serve(self)

            do_GET = do_POST = do_PATCH = do_PUT = _any  # noqa: N815 - names of http.server

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - of http.server
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._root}"

    @property
    def repository(self) -> str:
        """Address of the repository, as people write it."""
        return "https://forge.example/acme/releases.git"

    def merge(self, who: str = "ada", how: str = "--no-ff") -> Request:
        """Merge the open pull request, in the repository too."""
        request = self.open_one()
        Person(self.place, who).merge(request.head, how)
        request.state, request.who = "merged", who
        return request

    def close(self, who: str = "ada") -> Request:
        """Close the open pull request without merging it."""
        request = self.open_one()
        request.state, request.who = "closed", who
        return request

    def open_one(self) -> Request:
        """The one that is open."""
        (found,) = [one for one in self.requests if one.state == "open"]
        return found

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        data = json.loads(handler.rfile.read(length)) if length else {}
        path = urlsplit(handler.path)
        query = {name: values[-1] for name, values in parse_qs(path.query).items()}
        with self._lock:
            self.asked.append(f"{handler.command} {unquote(path.path)}")
            try:
                if self.faults:
                    raise self.faults.pop(0)
                self._check_token(handler.headers)
                status, body = self._answer(handler.command, unquote(path.path).removeprefix(self._root), query, data)
                headers: Mapping[str, str] = {}
            except Answered as answered:
                status, body, headers = answered.status, answered.body, answered.headers
        text = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(text)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text)

    def _numbered(self, number: str, missing: Any) -> Request:
        found = next((one for one in self.requests if str(one.number) == number), None)
        if found is None:
            raise Answered(404, missing)
        return found

    def _add(self, head: str, base: str, title: str, body: str) -> Request:
        made = Request(len(self.requests) + 1, head, base, title, body)
        self.requests.append(made)
        return made

    _root = ""

    @abstractmethod
    def _check_token(self, headers: Any) -> None:
        """Raise Answered for a wrong token."""

    @abstractmethod
    def _answer(self, method: str, path: str, query: Mapping[str, str], data: Json) -> tuple[int, Any]:
        """Status and body."""
