"""The API server for tests, on loopback.

True where operators need it: uid, resourceVersion, generation, 409, split /status, watches with bookmarks and 410,
selectors, finalizers, owner references, custom resources with defaults and validation, patches of all kinds and
server-side apply. It runs no controllers: a Job stays as it was made until a test changes it. It has no
authentication, no RBAC, no admission and no CEL rules; built-in kinds are not validated; nothing is converted between
versions; owner references are followed at once. `calls` is every request, so that a test can see what was asked.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import yaml

from trimtab.testing.kubernetes.answering import Answers, Place, Request, place_of, verb_of
from trimtab.testing.kubernetes.faults import Call, Fault, Faults
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.store import Object, Store
from trimtab.testing.kubernetes.watching import events

_READY = ("healthz", "readyz", "livez")
MOST_CALLS = 200_000


class KubernetesApi:
    """A context manager; `url` is the address. Objects may also be read and changed directly, in this process."""

    def __init__(self, bookmark_seconds: float = 60.0) -> None:
        self.store = Store()
        self.faults = Faults()
        self.calls: list[Call] = []
        self.bookmark_seconds = bookmark_seconds
        self._answers = Answers(self.store)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._streams: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> KubernetesApi:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self.faults.clear()
        self.cut()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kubeconfig(self, path: Path, context: str = "trimtab-test") -> Path:
        """Write a kubeconfig for this server."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": {"server": self.url}}],
            "users": [{"name": context, "user": {"token": "test"}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": "default"}}],
            "current-context": context,
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One request without HTTP, faults or a record of it; the answer's body. Raises ApiRefused."""
        parts = urlsplit(path)
        names = tuple(unquote(part) for part in parts.path.strip("/").split("/"))
        raw = json.dumps(body).encode() if body is not None else b""
        request = Request(method, names, dict(parse_qsl(parts.query)), content_type, agent="test", body=raw)
        place = place_of(names)
        with self.store.journal.lock:
            return self._answers.answer(request, place)[1] if place else self._answers.document(request)

    def expire(self) -> None:
        """Forget the past: watches from before now are answered 410 Gone."""
        self.store.journal.compact()

    def cut(self) -> None:
        """Cut every watch, as a load balancer does."""
        with self._lock:
            streams, self._streams = self._streams, set()
        for stream in streams:
            _abort(stream)

    def objects(self, path: str) -> list[Object]:
        """The items of a list, such as `/api/v1/namespaces/default/events`."""
        return list(self.request("GET", path)["items"])

    def _record(self, request: Request, place: Place | None) -> Call:
        with self._lock:
            number = len(self.calls) + 1
            if place is None:
                call = Call(number, "/" + "/".join(request.parts), agent=request.agent)
            else:
                said = (place.group, place.plural, place.namespace, place.name, place.subresource)
                call = Call(number, verb_of(request, place), *said, agent=request.agent)
            self.calls.append(call)
            return call

    def _serve(self, handler: BaseHTTPRequestHandler, request: Request) -> None:
        place = place_of(request.parts)
        call = self._record(request, place)
        fault = self.faults.of(call)
        if fault is not None and fault.kind == "hang":
            fault.released.wait()
            fault = None
        if self._stopped.is_set() or (fault is not None and fault.kind == "abort before"):
            _abort(handler.connection)
            return
        code = 0
        try:
            if fault is not None and fault.kind == "answer":
                raise ApiRefused(fault.code, "as the test wants it")
            if place is not None and call.verb == "watch":
                self._stream(handler, request, place)
                return
            code, body = self._act(request, place)
        except ApiRefused as refused:
            code, body = refused.code, refused.status()
        except Exception as error:  # noqa: BLE001 - said to the client, as a server does that lives on
            code, body = 500, ApiRefused(500, f"{type(error).__name__}: {error}").status()
        self.calls[call.number - 1] = replace(call, status=code)
        if fault is not None and fault.kind == "abort after":
            _abort(handler.connection)
            return
        _reply(handler, code, body, fault)

    def _act(self, request: Request, place: Place | None) -> tuple[int, Any]:
        with self.store.journal.lock:
            if place is not None:
                return self._answers.answer(request, place)
            if request.parts[0] in _READY:
                return 200, "ok"
            return 200, self._answers.document(request)

    def _stream(self, handler: BaseHTTPRequestHandler, request: Request, place: Place) -> None:
        watch = self._answers.watch(request, place)
        with self._lock:
            self._streams.add(handler.connection)
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.wfile.flush()
        try:
            for event in events(self.store, watch, self._stopped.is_set, self.bookmark_seconds):
                if event:
                    line = json.dumps(event).encode() + b"\n"
                    handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                    handler.wfile.flush()
                elif _hung_up(handler.connection):
                    break
            else:
                handler.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the client is gone
        finally:
            handler.close_connection = True
            with self._lock:
                self._streams.discard(handler.connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed in the middle of a call are what tests are about."""


def _reply(handler: BaseHTTPRequestHandler, code: int, body: Any, fault: Fault | None) -> None:
    text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    handler.send_response(code)
    handler.send_header("content-type", "text/plain" if isinstance(body, str) else "application/json")
    handler.send_header("content-length", str(len(text)))
    if fault is not None and fault.retry_after_seconds:
        handler.send_header("retry-after", str(fault.retry_after_seconds))
    handler.end_headers()
    handler.wfile.write(text)


def _hung_up(connection: socket.socket) -> bool:
    try:
        connection.setblocking(False)
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


def _abort(connection: socket.socket) -> None:
    """Cut the connection without an answer."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _handler(api: KubernetesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def _any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            request = Request(
                self.command,
                tuple(unquote(part) for part in parts.path.strip("/").split("/")),
                dict(parse_qsl(parts.query, keep_blank_values=True)),
                self.headers.get("content-type") or "",
                self.headers.get("accept") or "",
                self.headers.get("user-agent") or "",
                self.rfile.read(length) if length else b"",
            )
            api._serve(self, request)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - names of the standard library

        def log_message(self, *details: Any) -> None:
            """Quiet."""

    return Handler
