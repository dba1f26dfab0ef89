"""ModelServers and Service in memory: servers without processes, that can be told to die."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from trimtab.ports.servers import ServerRequest, ServerView


class MemoryServers:
    """A version is `starting` at its first look and `ready` from the next on; one in `broken` fails with its reason."""

    def __init__(self) -> None:
        self.broken: dict[str, str] = {}
        self._views: dict[ServerRequest, ServerView] = {}
        self._pid = 0

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """Start what is missing, forget what is not wanted; by version."""
        self._views = {request: self._views[request] for request in self._views if request in wanted}
        for request in wanted:
            self._views[request] = self._next(request)
        return {request.version: self._views[request] for request in wanted}

    def kill(self, version: str) -> None:
        """Let its process die."""
        for request, view in self._views.items():
            if request.version == version:
                self._views[request] = replace(view, state="starting", address="", grpc_address="", pid=0)

    def close(self) -> None:
        """Forget every server."""
        self._views = {}

    def _next(self, request: ServerRequest) -> ServerView:
        view = self._views.get(request)
        if request.version in self.broken:
            return ServerView(request.version, "failed", reason=self.broken[request.version])
        if view is None or view.state == "failed":
            return self._started(request.version, 0)
        if view.pid == 0:
            return self._started(request.version, view.restarts + 1)
        address = f"memory:{view.pid}"
        return replace(view, state="ready", address=address, grpc_address=address)

    def _started(self, version: str, restarts: int) -> ServerView:
        self._pid += 1
        return ServerView(version, "starting", pid=self._pid, restarts=restarts)


class MemoryService:
    """A Service that answers at once."""

    def __init__(self, address: str = "memory:1") -> None:
        self._address = address

    def ensure(self) -> str:
        """Its address."""
        return self._address

    def close(self) -> None:
        """Nothing runs."""
