"""ModelServers: one process a version on loopback."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from trimtab.adapters.model_server import MODULE, arguments, checked
from trimtab.adapters.process import end_orphan
from trimtab.adapters.supervision import Patience, Recipe, SupervisedServer
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Serving

KSERVE = (sys.executable, "-m", MODULE)


class ProcessServers:
    """Runs `command` a version, in `folder`/<version>/; the servers end with this process, however it ends.

    A version that is wanted no more is sent SIGTERM some seconds later (`patience.drain_seconds`), so that the router
    has moved away by then. `ensure` must be called now and then: everything happens there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        serving: Serving,
        prediction_log: Path,
        accept_time_header: bool = False,
        command: Sequence[str] = KSERVE,
        patience: Patience | None = None,
    ) -> None:
        """End what a killed controller left behind in `folder`; `name` is the model's, `prediction_log` a folder."""
        self._folder, self._name, self._serving, self._command = folder.resolve(), name, serving, tuple(command)
        self._prediction_log, self._accept_time_header = prediction_log.resolve(), accept_time_header
        self._patience = patience or Patience()
        self._prober = ThreadPoolExecutor(4, "trimtab-probe")
        self._wanted: dict[ServerRequest, SupervisedServer] = {}
        self._unwanted: dict[ServerRequest, tuple[SupervisedServer, float]] = {}  # and since when
        for record in sorted(folder.glob("*/process.json")):
            end_orphan(record)

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """Start what is missing, restart what died, stop what is not wanted; returns at once, by version."""
        now = time.monotonic()
        for request in [request for request in self._wanted if request not in wanted]:
            self._unwanted[request] = (self._wanted.pop(request), now)
        self._see_off(now)
        views = {}
        for request in wanted:
            server = self._server(request)
            if server is None:
                views[request.version] = ServerView(request.version, "starting", reason="its last process is stopping")
                continue
            server.look(now)
            views[request.version] = _view(request.version, server)
        return views

    def close(self) -> None:
        """Stop every server, letting each finish the requests it has taken."""
        servers = [*self._wanted.values(), *(server for server, _ in self._unwanted.values())]
        self._wanted, self._unwanted = {}, {}
        now = time.monotonic()
        for server in servers:
            server.leave(now)
        for server in servers:
            server.wait(now + self._patience.stop_seconds - time.monotonic())
        self._prober.shutdown(wait=False, cancel_futures=True)

    def _server(self, request: ServerRequest) -> SupervisedServer | None:
        """The server of a request, or None while another process of that version has to end first."""
        if request in self._wanted:
            return self._wanted[request]
        kept = self._unwanted.get(request)
        if kept is not None and not kept[0].leaving:
            self._wanted[request] = self._unwanted.pop(request)[0]
            return self._wanted[request]
        if any(other.version == request.version for other in self._unwanted):
            return None
        self._wanted[request] = SupervisedServer(self._recipe(request), self._patience, self._prober, self._taken)
        return self._wanted[request]

    def _see_off(self, now: float) -> None:
        for request, (server, since) in list(self._unwanted.items()):
            if now - since >= self._patience.drain_seconds and server.leave(now):
                del self._unwanted[request]

    def _taken(self) -> frozenset[int]:
        servers = [*self._wanted.values(), *(server for server, _ in self._unwanted.values())]
        return frozenset(port for server in servers for port in server.ports)

    def _recipe(self, request: ServerRequest) -> Recipe:
        folder = self._folder / checked(request.version)
        found = replace(request, bundle=request.bundle.resolve())

        def command(ports: Sequence[int]) -> Sequence[str]:
            both = (ports[0], ports[1])
            options = arguments(self._name, self._serving, found, self._prediction_log, "127.0.0.1", both)
            return [*self._command, *options, *(["--accept-time-header"] if self._accept_time_header else [])]

        return Recipe(command, folder, ports=2)


def _view(version: str, server: SupervisedServer) -> ServerView:
    if server.state != "ready":
        return ServerView(version, server.state, pid=server.pid, restarts=server.restarts, reason=server.reason)
    rest, grpc = (f"127.0.0.1:{port}" for port in server.ports)
    return ServerView(version, "ready", rest, grpc, server.pid, server.restarts)
