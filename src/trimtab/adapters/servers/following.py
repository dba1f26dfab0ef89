"""ModelServers that only look: a cluster that follows a repository makes them, out of chart model-release."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from trimtab.adapters.cluster import PODS, Cluster
from trimtab.adapters.deployments import Found, stand_of
from trimtab.adapters.workloads import DEPLOYMENTS, VERSION
from trimtab.ports.servers import ServerRequest, ServerView

Json = dict[str, Any]
_PORT = 8080
# The chart's own pods need no Service to be ready; whether routers reach them is the chart's.
_SERVICE: Json = {"spec": {"clusterIP": "-", "ports": []}}


class FollowingServers:
    """Versions of the release `name` in `namespace`; nothing is made, changed or deleted."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """How they stand; raises ClusterError."""
        deployments = {
            one["metadata"]["name"]: one for one in self._cluster.list(DEPLOYMENTS, self._namespace, VERSION)
        }
        pods = [one for one in self._cluster.list(PODS, self._namespace, VERSION) if _lives(one)]
        return {request.version: self._view(request, deployments, pods) for request in wanted}

    def close(self) -> None:
        """Nothing: what serves is the repository's."""

    def _view(self, request: ServerRequest, deployments: Mapping[str, Json], pods: list[Json]) -> ServerView:
        base = f"{self._name}-v{request.version}"
        name = next((one for one in (base, f"{base}-predictor") if one in deployments), "")  # KServe's has an ending
        if not name:
            return ServerView(request.version, "starting", reason="the cluster has not followed the repository yet")
        found = deployments[name]
        told = _environment(found).get("TRIMTAB_DIGEST", request.digest)
        if told != request.digest:
            said = (
                f"the cluster serves it with digest {told}, not {request.digest}: is it synced to another repository?"
            )
            return ServerView(request.version, "starting", reason=said)
        own = [one for one in pods if one["metadata"]["name"].startswith(f"{name}-")]
        stand = stand_of(Found({name: found}, {name: _SERVICE}, {name: own}), name)
        address = f"{base}.{self._namespace}.svc:{_PORT}" if stand.state == "ready" else ""
        return ServerView(request.version, stand.state, address, restarts=stand.restarts, reason=stand.reason)


def _lives(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def _environment(deployment: Json) -> dict[str, str]:
    containers = deployment["spec"]["template"]["spec"].get("containers") or ()
    return {one["name"]: str(one.get("value", "")) for container in containers for one in container.get("env") or ()}
