"""Service: the collector of one loop as a Deployment of one pod, its logs in the loop's home."""

from __future__ import annotations

from typing import Any

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.deployments import Deployments, stand_of
from trimtab.adapters.workloads import METRICS, Place, object_name, pod_template

Json = dict[str, Any]
COLLECTOR = "collector"
_PORT = 8080
_COMMAND = ("python", "-m", "trimtab.serving.collector")


def address(place: Place) -> str:
    """host:port of the collector's Service, from anywhere in the cluster."""
    return f"{object_name(place.loop, COLLECTOR)}.{place.namespace}.svc:{_PORT}"


class CollectorDeployment:
    """`numbers`: every label must be a number; `payloads`: it takes KServe's payload log; `environment`: more of its
    env. It outlives the operator: `close` stops nothing, `remove` does.
    """

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        *,
        numbers: bool = False,
        payloads: bool = False,
        environment: tuple[Json, ...] = (),
    ) -> None:
        self._place, self._numbers, self._payloads, self._environment = place, numbers, payloads, environment
        self._deployments = Deployments(cluster, place, COLLECTOR)
        self._name = object_name(place.loop, COLLECTOR)
        self.reason = "not looked at yet"

    def ensure(self) -> str:
        """Make it if it is missing; its host:port, or "" while it is not answering yet. Raises ClusterError."""
        found = self._deployments.look()
        place = self._place
        probe: Json = {"httpGet": {"path": "/healthz", "port": _PORT}}
        options = ["--home", str(place.home), "--host", place.listen, "--port", str(_PORT)]
        container: Json = {
            "name": COLLECTOR,
            "image": place.image,
            "command": list(_COMMAND),
            "args": [
                *options,
                *(["--numbers"] if self._numbers else []),
                *([f"--payloads={place.loop}"] if self._payloads else []),
            ],
            "env": list(self._environment),
            "ports": [{"name": "metrics", "containerPort": _PORT, "protocol": "TCP"}],
            "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 60},
            "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 3},
            "livenessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        }
        spec = {"terminationGracePeriodSeconds": 60}
        template = pod_template(place, COLLECTOR, container, labels={METRICS: COLLECTOR}, spec=spec)
        # Two that compact one log would be one too many.
        extra = {"replicas": 1, "strategy": {"type": "Recreate"}, "revisionHistoryLimit": 2}
        self._deployments.ensure(found, self._name, template, {"http": _PORT}, extra)
        stand = stand_of(found, self._name)
        self.reason = stand.reason
        return stand.addresses[0] if stand.state == "ready" else ""

    def close(self) -> None:
        """Nothing: it is the cluster's."""

    def remove(self) -> None:
        """Delete it; it finishes what it has taken. Raises ClusterError."""
        self._deployments.remove(self._name)
