"""Router: our Envoy as a Deployment, for clusters with neither KServe nor a gateway.

Fallback, retries, copies and the track header are those of one machine: the same code writes the files, which reach
the pods in a ConfigMap. The kubelet may bring a change a minute late, so the pods are annotated, which makes it look at
once; and a next step waits until every pod says that it has taken the one before.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters.cluster import CONFIG_MAPS, PODS, Cluster, ClusterError
from trimtab.adapters.deployments import Deployments, Found, stand_of
from trimtab.adapters.router.envoy_config import Bounds
from trimtab.adapters.router.envoy_files import NOTE, Files
from trimtab.adapters.router.envoy_in_pod import PORT, STATISTICS_PORT
from trimtab.adapters.router.envoy_statistics import counts, editions
from trimtab.adapters.router.pod_counts import PodCounts
from trimtab.adapters.workloads import METRICS, SCRATCH, Place, is_ready, object_name, pod_template
from trimtab.errors import EvidenceMissing
from trimtab.ports.router import Routes, Traffic
from trimtab.spec.serving import Serving

log = logging.getLogger(__name__)
Json = dict[str, Any]
ROUTER = "router"
COUNTED = "trimtab.dev/counted"
CONFIG = "trimtab.dev/config"  # annotation of pods: which edition they should have
_FOLDER = "/etc/trimtab/router"
_COMMAND = ["python", "-m", "trimtab.adapters.router.envoy_in_pod"]
_ALIVE = {"path": "/stats?filter=server.live", "port": STATISTICS_PORT}  # also while it drains
_KINDS = ("requests", "failures", "mirrored", "mirror_failures")


def _now() -> datetime:
    return datetime.now(UTC)


class EnvoyDeployment:
    """The front door of one loop, reached by its Service. It outlives the operator: `close` stops nothing.

    `apply` waits at most `patience_seconds` for the pods at each step; what is left (`pending` says what) is done by
    the next `apply`, of this operator or another.
    """

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        serving: Serving,
        *,
        patience_seconds: float = 5.0,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._cluster, self._place, self._now = cluster, place, now
        limits = serving.limits
        self._bounds = Bounds(limits.timeout.total_seconds(), limits.max_body_bytes)
        self._patience_seconds = patience_seconds
        self._name = object_name(place.loop, ROUTER)
        self._deployments = Deployments(cluster, place, ROUTER)
        self._counts = PodCounts()
        self._address = ""
        self.pending = ""

    @property
    def address(self) -> str:
        """host:port of the Service; "" before the first `apply` and while no pod is ready."""
        return self._address

    def apply(self, routes: Routes) -> None:
        """Take these routes as far towards the pods as they go now; raises ClusterError (Conflict: taken again)."""
        files = self._files(self._read())
        if files is None:
            files = self._anew(Files.first(routes, self._bounds, self._now()))
        self._make()
        self.pending = ""
        if files.routes != routes or files.bounds != self._bounds:
            files = self._write(files, files.with_clusters_for(routes))
            if not self._taken(files):
                return
            files = self._write(files, files.with_routes(routes, self._bounds, self._now()))
        if self._taken(files):
            self._write(files, files.without_retired(self._now() - files.drained_by()))

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version over all pods; raises EvidenceMissing if one of them does not tell."""
        found = self._read()
        files, pods = self._files(found), self._ready_pods()
        if found is None or files is None or not pods:
            raise EvidenceMissing(f"no pod of the router {self._name} is ready, so nobody counts requests")
        mirrors = files.mirrors()
        told = {_process(pod): counts(_statistics(pod), mirrors) for pod in pods}
        noted = json.loads((found["metadata"].get("annotations") or {}).get(COUNTED) or "{}")
        totals = self._counts.see(told, noted, self._now().isoformat())
        note = self._counts.note()
        if note != noted:
            body = {"metadata": {"annotations": {COUNTED: json.dumps(note)}}}
            self._cluster.merge(CONFIG_MAPS, self._place.namespace, self._name, body)
        versions = sorted({name.rpartition(" ")[0] for name in totals})
        return {
            version: Traffic(epoch=self._counts.epoch, **{kind: totals.get(f"{version} {kind}", 0) for kind in _KINDS})
            for version in versions
        }

    def routed(self, address: str) -> bool:
        """Whether a pod may still send a request to this address."""
        files = self._files(self._read())
        return files is not None and files.names(address)

    def close(self) -> None:
        """Nothing: the door is the cluster's. This object forgets its address."""
        self._address = ""

    def remove(self) -> None:
        """Delete it; raises ClusterError."""
        self._deployments.remove(self._name)
        self._cluster.delete(CONFIG_MAPS, self._place.namespace, self._name)
        self._address = ""

    def _read(self) -> Json | None:
        return self._cluster.get(CONFIG_MAPS, self._place.namespace, self._name)

    def _files(self, found: Json | None) -> Files | None:
        """What the ConfigMap says; None if it is not there, or was changed so that it says nothing."""
        if found is None:
            return None
        try:
            return Files.read(found)
        except (KeyError, TypeError, ValueError) as error:
            log.warning("%s: its ConfigMap cannot be read and is written anew: %r", self._name, error)
            return None

    def _anew(self, files: Files) -> Files:
        """Store the files where there are none."""
        # Before the first pod: whatever pods count from now on is counted.
        counted = json.dumps({"epoch": self._now().isoformat(), "pods": [], "carried": {}})
        notes = {NOTE: files.note(), COUNTED: counted}
        about = {"name": self._name, "labels": self._place.labels(ROUTER), "annotations": notes}
        self._cluster.delete(CONFIG_MAPS, self._place.namespace, self._name)
        self._cluster.create(CONFIG_MAPS, self._place.namespace, {"metadata": about, "data": files.data()})
        self._let_look(files)
        return files

    def _write(self, before: Files, files: Files) -> Files:
        """Store the files if they are other ones, and let the kubelets look."""
        if before == files:
            return files
        found = self._read()
        if found is None or self._files(found) != before:
            raise ClusterError(f"ConfigMap {self._name} was changed by somebody else; the next turn looks at it anew")
        kept = {**(found["metadata"].get("annotations") or {}), NOTE: files.note()}
        meta = {**found["metadata"], "annotations": kept}
        self._cluster.replace(CONFIG_MAPS, self._place.namespace, {**found, "metadata": meta, "data": files.data()})
        self._let_look(files)
        return files

    def _let_look(self, files: Files) -> None:
        edition = f"{files.clusters_edition}-{files.routes_edition}"
        for pod in self._deployments.pods().get(self._name, ()):
            try:
                change = {"metadata": {"annotations": {CONFIG: edition}}}
                self._cluster.merge(PODS, self._place.namespace, pod["metadata"]["name"], change)
            except ClusterError as error:
                if error.code != 404:  # without it the pod only hears of it later
                    log.warning("%s: the pod was not told of its new routes: %s", self._name, error)

    def _taken(self, files: Files) -> bool:
        """Whether every pod that takes requests uses these files, within the time given; `pending` says who not."""
        give_up = time.monotonic() + self._patience_seconds
        while True:
            self.pending = self._behind(files)
            if not self.pending:
                return True
            if time.monotonic() > give_up:
                log.warning("%s: %s", self._name, self.pending)
                return False
            time.sleep(0.1)

    def _behind(self, files: Files) -> str:
        wanted = (str(files.clusters_edition), str(files.routes_edition), True)
        for pod in self._ready_pods():
            name = pod["metadata"]["name"]
            try:
                told = editions(_statistics(pod))
            except EvidenceMissing as error:
                return f"pod {name}: {error}"
            if told != wanted:
                return f"pod {name} has not taken edition {wanted[0]}-{wanted[1]} yet: it has {told[0]}-{told[1]}"
        return ""

    def _ready_pods(self) -> list[Json]:
        return [pod for pod in self._deployments.pods().get(self._name, ()) if is_ready(pod)]

    def _make(self) -> None:
        found: Found = self._deployments.look()
        place = self._place
        bounds = ["--timeout-seconds", f"{self._bounds.timeout_seconds:g}"]
        options = ["--config", _FOLDER, "--scratch", SCRATCH, "--host", place.listen, *bounds]
        probe: Json = {"httpGet": {"path": "/ready", "port": STATISTICS_PORT}}
        container: Json = {
            "name": ROUTER,
            "image": place.image,
            "command": _COMMAND,
            "args": [*options, "--max-body-bytes", str(self._bounds.max_body_bytes)],
            "ports": [
                {"name": "http", "containerPort": PORT, "protocol": "TCP"},
                {"name": "stats", "containerPort": STATISTICS_PORT, "protocol": "TCP"},
            ],
            "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
            "readinessProbe": {**probe, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2},
            "livenessProbe": {"httpGet": _ALIVE, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
            "lifecycle": {"preStop": {"exec": {"command": [*_COMMAND, "--drain", "--scratch", SCRATCH, *bounds]}}},
        }
        volume = ({"name": "routes", "configMap": {"name": self._name}}, _FOLDER)
        grace = int(2 * self._bounds.timeout_seconds + 20)
        template = pod_template(
            place,
            ROUTER,
            container,
            labels={METRICS: ROUTER},
            volumes=(volume,),
            with_home=False,
            spec={"terminationGracePeriodSeconds": grace},
        )
        # There is always a door that is open.
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        self._deployments.ensure(
            found, self._name, template, {"http": PORT}, {"strategy": rolling, "revisionHistoryLimit": 2}
        )
        stand = stand_of(found, self._name)
        self._address = stand.addresses[0] if stand.state == "ready" else ""


def _statistics(pod: Json) -> str:
    ip = str(pod["status"]["podIP"])
    return f"[{ip}]:{STATISTICS_PORT}" if ":" in ip else f"{ip}:{STATISTICS_PORT}"


def _process(pod: Json) -> str:
    """One process of Envoy: a container that starts anew has another id."""
    ids = [str(one.get("containerID")) for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    return f"{pod['metadata']['uid']}/{','.join(ids)}"
