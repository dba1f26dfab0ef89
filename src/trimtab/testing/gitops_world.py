"""A cluster in memory that follows a repository as Argo CD does: what serves is what release.yaml on main says.

The loop's own router and servers only look: with gitops nothing but the repository changes what serves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from trimtab.adapters.router.memory import MemoryRouter
from trimtab.ports.router import Routes, Target, Traffic
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.testing.git_places import Place


class FollowingCluster:
    """`front` takes the requests. `synced` is what was last found in the repository; `broken` versions never start."""

    def __init__(self, place: Place, path: str) -> None:
        self.front, self.synced = MemoryRouter(), dict[str, Any]()
        self.broken: dict[str, str] = {}
        self._place, self._path = place, path

    def sync(self) -> None:
        """Take up what the repository says; nothing changes while it says nothing."""
        try:
            text = self._place.read(self._path)
        except (AssertionError, FileNotFoundError):
            return
        self.synced = found = yaml.safe_load(text)
        champion, challenger, shadow = (self._target(found[role]) for role in ("champion", "challenger", "shadow"))
        copies = int(found["shadowPercent"]) if shadow else 0
        percent = int(found["trafficPercent"])
        candidate = shadow if copies else challenger if percent else None
        self.front.apply(Routes(champion, candidate, percent, copies))

    def versions(self) -> dict[str, str]:
        """Digests of the versions that serve, by version."""
        roles = [self.synced.get(role) or {} for role in ("champion", "challenger", "shadow")]
        return {role["version"]: role["digest"] for role in roles if role.get("version")}

    def _target(self, role: Mapping[str, str]) -> Target | None:
        version = role.get("version")
        return Target(version, f"{version}:8080") if version and version not in self.broken else None


class FollowingServers:
    """ModelServers that only look."""

    def __init__(self, cluster: FollowingCluster) -> None:
        self._cluster = cluster

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """How the versions stand."""
        self._cluster.sync()
        return {request.version: self._view(request) for request in wanted}

    def close(self) -> None:
        """Nothing was started."""

    def _view(self, request: ServerRequest) -> ServerView:
        if request.version in self._cluster.broken:
            return ServerView(request.version, "failed", reason=self._cluster.broken[request.version])
        if self._cluster.versions().get(request.version) != request.digest:
            return ServerView(request.version, "starting", reason="it is not synced yet")
        return ServerView(request.version, "ready", f"{request.version}:8080")


class FollowingRouter:
    """Router that only counts."""

    def __init__(self, cluster: FollowingCluster) -> None:
        self._cluster = cluster
        self.address = "memory:1"

    def apply(self, routes: Routes) -> None:
        """Nothing: the repository says where requests go."""

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version."""
        return self._cluster.front.traffic()

    def close(self) -> None:
        """Nothing was started."""
