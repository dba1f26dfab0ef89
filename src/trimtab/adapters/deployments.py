"""A Deployment with its Service, kept as wanted by server-side apply, and how it stands.

Only what is ours is applied: replicas are left out, so that `kubectl scale` and an autoscaler are not fought over.
An object is applied again when what is wanted changed, or when somebody changed it since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.adapters.cluster import PODS, Cluster
from trimtab.adapters.workloads import DEPLOYMENTS, MADE_AS, SERVICES, Place, digest_of, why_waiting

Json = dict[str, Any]
_BROKEN = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"})
_CRASHES = 3  # a container that died this often without ever being ready is broken


@dataclass(frozen=True)
class Stand:
    """How a Deployment stands; `address` is that of its Service once something answers there."""

    state: Literal["starting", "ready", "failed"]
    addresses: tuple[str, ...] = ()
    restarts: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What is there in one role of a loop, by name."""

    deployments: Mapping[str, Json]
    services: Mapping[str, Json]
    pods: Mapping[str, Sequence[Json]]  # by the name of their Deployment


class Deployments:
    """Deployments of one role of one loop; the label NAME says which pod is whose."""

    NAME = "trimtab.dev/name"

    def __init__(self, cluster: Cluster, place: Place, role: str) -> None:
        self._cluster, self._place, self._role = cluster, place, role
        self._applied: dict[str, tuple[Any, str]] = {}

    def look(self) -> Found:
        """What is there."""
        namespace, selector = self._place.namespace, self._place.selector(self._role)
        return Found(
            _named(self._cluster.list(DEPLOYMENTS, namespace, selector)),
            _named(self._cluster.list(SERVICES, namespace, selector)),
            self.pods(),
        )

    def pods(self) -> dict[str, list[Json]]:
        """Pods that are not on their way out, by the name of their Deployment."""
        found: dict[str, list[Json]] = {}
        for pod in self._cluster.list(PODS, self._place.namespace, self._place.selector(self._role)):
            if "deletionTimestamp" not in pod["metadata"]:
                found.setdefault(str((pod["metadata"].get("labels") or {}).get(self.NAME)), []).append(pod)
        return found

    def ensure(
        self,
        found: Found,
        name: str,
        template: Json,
        ports: Mapping[str, int],
        spec: Json | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Make or mend the Deployment and its Service of this name; `ports` by name. Raises ClusterError."""
        about = {**self._place.labels(self._role), **(labels or {}), self.NAME: name}
        template["metadata"]["labels"] |= about
        select = {self.NAME: name, **self._place.labels(self._role)}
        deployment: Json = {
            "metadata": {"name": name, "labels": about},
            "spec": {"selector": {"matchLabels": select}, "template": template, **(spec or {})},
        }
        service: Json = {
            "metadata": {"name": name, "labels": about},
            "spec": {
                "selector": select,
                "ports": [
                    {"name": key, "port": port, "targetPort": port, "protocol": "TCP"} for key, port in ports.items()
                ],
            },
        }
        self._apply(DEPLOYMENTS, found.deployments.get(name), deployment)
        self._apply(SERVICES, found.services.get(name), service)

    def remove(self, name: str) -> None:
        """Delete both; requests under way in its pods are finished."""
        self._cluster.delete(DEPLOYMENTS, self._place.namespace, name)
        self._cluster.delete(SERVICES, self._place.namespace, name)
        for plural in (DEPLOYMENTS.plural, SERVICES.plural):
            self._applied.pop(f"{plural}/{name}", None)

    def annotate(self, name: str, notes: Mapping[str, str | None]) -> None:
        """Remember something at the Deployment; None forgets it."""
        self._cluster.merge(DEPLOYMENTS, self._place.namespace, name, {"metadata": {"annotations": dict(notes)}})

    def _apply(self, resource: Any, there: Json | None, body: Json) -> None:
        mark = digest_of(body)
        name = body["metadata"]["name"]
        key = f"{resource.plural}/{name}"
        if there is not None and (there["metadata"].get("annotations") or {}).get(MADE_AS) == mark:
            known = there["metadata"].get("generation")
            if self._applied.get(key) in (None, (known, mark)):
                self._applied[key] = (known, mark)
                return
        body["metadata"]["annotations"] = {MADE_AS: mark}
        made = self._cluster.apply(resource, self._place.namespace, body)
        self._applied[key] = (made["metadata"].get("generation"), mark)


def stand_of(found: Found, name: str) -> Stand:
    """How the Deployment of this name stands; it is never waited for."""
    deployment, service, pods = found.deployments.get(name), found.services.get(name), found.pods.get(name, ())
    if deployment is None or service is None:
        return Stand("starting", reason="it was only just made")
    restarts = sum(_restarts(pod) for pod in pods)
    waiting = [why_waiting(pod) for pod in pods]
    said = "; ".join(dict.fromkeys(sentence for _, sentence in waiting if sentence))
    status = deployment.get("status") or {}
    new = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    if status.get("readyReplicas", 0) > 0 and (service["spec"].get("clusterIP") or ""):
        return Stand("ready", _addresses(service), restarts)
    late = [one for one in status.get("conditions") or () if _is_late(one)]
    crashing = any(reason == "CrashLoopBackOff" for reason, _ in waiting) and restarts >= _CRASHES
    broken = any(reason in _BROKEN for reason, _ in waiting)
    if new and (late or crashing or broken):
        why = "" if said else "; ".join(str(one.get("message") or one.get("reason")) for one in late)
        return Stand("failed", restarts=restarts, reason=said or why)
    return Stand("starting", restarts=restarts, reason=said)


def _is_late(condition: Json) -> bool:
    if condition["type"] == "Progressing":
        return bool(condition["status"] == "False")
    return bool(condition["type"] == "ReplicaFailure" and condition["status"] == "True")


def _addresses(service: Json) -> tuple[str, ...]:
    ip = str(service["spec"]["clusterIP"])
    host = f"[{ip}]" if ":" in ip else ip
    return tuple(f"{host}:{port['port']}" for port in service["spec"]["ports"])


def _restarts(pod: Json) -> int:
    return sum(int(one.get("restartCount", 0)) for one in (pod.get("status") or {}).get("containerStatuses") or ())


def _named(objects: Sequence[Json]) -> dict[str, Json]:
    return {one["metadata"]["name"]: one for one in objects if "deletionTimestamp" not in one["metadata"]}
