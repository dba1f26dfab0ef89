"""ModelServers: a Deployment and a Service a version, on a cluster that has nothing but Kubernetes.

A version that is wanted no more is kept for a while after the last wish for it, and until no router can send to it:
since when is noted at the Deployment, so that an operator that starts again keeps to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.deployments import Deployments, Found, Stand, stand_of
from trimtab.adapters.model_server import MODULE, arguments, checked
from trimtab.adapters.workloads import METRICS, VERSION, Place, label, object_name, pod_template
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Serving

Json = dict[str, Any]
MODEL = "model"
PORTS = {"http": 8080, "grpc": 8081}
UNWANTED = "trimtab.dev/unwanted-since"
DRAIN = timedelta(seconds=60)
_DEADLINE_SECONDS = 300
_LEAVE_SECONDS = 5
COMMAND = ("python", "-m", MODULE)


def _now() -> datetime:
    return datetime.now(UTC)


class DeploymentServers:
    """Servers of one loop. They outlive the operator: `close` stops none, `remove` all.

    `routed`: whether a router may still send to an address.
    """

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        serving: Serving,
        *,
        routed: Callable[[str], bool] = lambda _: False,
        command: tuple[str, ...] = COMMAND,
        drain: timedelta = DRAIN,
        deadline_seconds: int = _DEADLINE_SECONDS,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._place, self._serving, self._command = place, serving, command
        self._routed, self._drain, self._now = routed, drain, now
        self._deadline_seconds = deadline_seconds
        self._deployments = Deployments(cluster, place, MODEL)

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        """Make what is missing, mend what was changed, see off what is not wanted; raises ClusterError."""
        names = {self._name(request): request for request in wanted}
        found = self._deployments.look()
        for name in set(found.deployments) | set(found.services):
            if name not in names:
                self._see_off(found, name)
        for name, request in names.items():
            notes = (found.deployments.get(name) or {}).get("metadata", {}).get("annotations") or {}
            if UNWANTED in notes:
                self._deployments.annotate(name, {UNWANTED: None})
            self._make(found, name, request)
        return {request.version: _view(request.version, stand_of(found, name)) for name, request in names.items()}

    def close(self) -> None:
        """Nothing: what serves is the cluster's."""

    def remove(self) -> None:
        """Delete every server now; raises ClusterError."""
        found = self._deployments.look()
        for name in set(found.deployments) | set(found.services):
            self._deployments.remove(name)

    def _name(self, request: ServerRequest) -> str:
        # The digest is a part of it: a version whose bundle is another one is another server.
        return object_name(self._place.loop, f"v{checked(request.version).lower()}-{request.digest[-6:]}")

    def _see_off(self, found: Found, name: str) -> None:
        deployment = found.deployments.get(name)
        if deployment is None:
            self._deployments.remove(name)  # a Service that was left over
            return
        now = self._now()
        since = (deployment["metadata"].get("annotations") or {}).get(UNWANTED)
        if since is None:
            self._deployments.annotate(name, {UNWANTED: now.isoformat()})
            return
        addresses = stand_of(found, name).addresses
        if now - datetime.fromisoformat(since) >= self._drain and not any(map(self._routed, addresses)):
            self._deployments.remove(name)

    def _make(self, found: Found, name: str, request: ServerRequest) -> None:
        place = self._place
        log = place.home / "predictions"
        options = arguments(place.loop, self._serving, request, log, place.listen, (PORTS["http"], PORTS["grpc"]))
        ready: Json = {"path": "/v2/health/ready", "port": PORTS["http"]}
        container: Json = {
            "name": "server",
            "image": place.server_image or place.image,
            "command": list(self._command),
            "args": options,
            "env": [
                # One request at a time is computed, so more threads only cost memory and cores of others.
                *({"name": key, "value": "1"} for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")),
            ],
            "ports": [
                {"name": "metrics", "containerPort": PORTS["http"], "protocol": "TCP"},
                {"name": "grpc", "containerPort": PORTS["grpc"], "protocol": "TCP"},
            ],
            # Importing the libraries takes a busy node a while.
            "startupProbe": {"httpGet": ready, "periodSeconds": 2, "failureThreshold": 90},
            "readinessProbe": {"httpGet": ready, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
            "livenessProbe": {
                "httpGet": {**ready, "path": "/v2/health/live"},
                "periodSeconds": 10,
                "timeoutSeconds": 5,
                "failureThreshold": 3,
            },
            # Kube-proxies hear a moment late that this pod takes no more requests: it still answers them.
            "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_LEAVE_SECONDS)]}}},
        }
        labels = {VERSION: label(request.version), METRICS: MODEL}
        template = pod_template(place, MODEL, container, labels=labels, spec={"terminationGracePeriodSeconds": 30})
        spec = {"progressDeadlineSeconds": self._deadline_seconds, "revisionHistoryLimit": 2}
        self._deployments.ensure(found, name, template, PORTS, spec, {VERSION: label(request.version)})


def _view(version: str, stand: Stand) -> ServerView:
    if stand.state != "ready":
        return ServerView(version, stand.state, restarts=stand.restarts, reason=stand.reason)
    rest, grpc = stand.addresses
    return ServerView(version, "ready", rest, grpc, restarts=stand.restarts)
