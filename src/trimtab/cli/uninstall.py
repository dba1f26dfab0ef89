"""Taking trimtab out of a cluster again: loops first, so that their operator can still see them off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from trimtab.adapters.cluster import CONFIG_MAPS, JOBS, LEASES, MODEL_LOOPS, Cluster, ClusterError, Resource
from trimtab.cli.doctor import CLAIMS, DEFINITIONS, DEPLOYMENTS, OURS, SERVICES
from trimtab.spec import crd

ON_DELETE = "trimtab.dev/on-delete"
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.5
_RBAC = "rbac.authorization.k8s.io"
_KINDS = (
    DEPLOYMENTS,
    Resource("batch", "v1", "cronjobs", "CronJob"),
    JOBS,
    SERVICES,
    CONFIG_MAPS,
    Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    Resource(_RBAC, "v1", "rolebindings", "RoleBinding"),
    Resource(_RBAC, "v1", "roles", "Role"),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    Resource("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor"),
    Resource("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor"),
    Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule"),
    Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService"),
    Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
)
_WIDE = (
    Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding"),
    Resource(_RBAC, "v1", "clusterroles", "ClusterRole"),
)
_SECRETS = Resource("", "v1", "secrets", "Secret")
_LEASE = "trimtab-operator"


def plan(cluster: Cluster, namespace: str, keep_data: bool) -> list[str]:
    """What `remove` would remove, a line each."""
    lines = [f"ModelLoop {one['metadata']['name']} and what serves for it" for one in _loops(cluster, namespace)]
    for kind in (*_KINDS, *(() if keep_data else (CLAIMS,))):
        lines += [f"{kind.kind} {name}" for name in _names(cluster, kind, namespace, OURS)]
    releases = {name: f"{OURS},app.kubernetes.io/instance={name}" for name in _releases(cluster, namespace)}
    lines += [f"the records of Helm's release {name}" for name in releases]
    if _alone(cluster, namespace) and cluster.get(DEFINITIONS, "", crd.NAME) is not None:
        lines += ["the definition of ModelLoop"]
    return lines


def remove(cluster: Cluster, namespace: str, keep_data: bool, tell: Callable[[str], None]) -> None:
    """Remove it; raises TrimtabError if the loops do not go."""
    releases = _releases(cluster, namespace)
    _remove_loops(cluster, namespace, tell)
    alone = _alone(cluster, namespace)
    for kind in (*_KINDS, *(() if keep_data else (CLAIMS,))):
        for name in _names(cluster, kind, namespace, OURS):
            cluster.delete(kind, namespace, name)
            tell(f"removed {kind.kind} {name}")
    for release in releases:
        ours = f"{OURS},app.kubernetes.io/instance={release}"
        for kind in _WIDE:
            for name in _names(cluster, kind, "", ours):
                cluster.delete(kind, "", name)
                tell(f"removed {kind.kind} {name}")
        for name in _names(cluster, _SECRETS, namespace, f"owner=helm,name={release}"):
            cluster.delete(_SECRETS, namespace, name)
        tell(f"removed the records of Helm's release {release}")
    cluster.delete(LEASES, namespace, _LEASE)
    if alone:
        cluster.delete(DEFINITIONS, "", crd.NAME)
        tell("removed the definition of ModelLoop")
    else:
        tell("the definition of ModelLoop stays: other namespaces have loops")


def _remove_loops(cluster: Cluster, namespace: str, tell: Callable[[str], None]) -> None:
    """Wait for the operator to see them off; without a running one its finalizer is taken away."""
    for one in _loops(cluster, namespace):
        name = one["metadata"]["name"]
        cluster.merge(MODEL_LOOPS, namespace, name, {"metadata": {"annotations": {ON_DELETE: "remove"}}})
        cluster.delete(MODEL_LOOPS, namespace, name)
        tell(f"removing ModelLoop {name}")
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while left := _loops(cluster, namespace):
        if not _operator_runs(cluster, namespace) or time.monotonic() > give_up:
            for one in left:
                cluster.merge(MODEL_LOOPS, namespace, one["metadata"]["name"], {"metadata": {"finalizers": None}})
            return
        time.sleep(_POLL_SECONDS)


def _operator_runs(cluster: Cluster, namespace: str) -> bool:
    found = cluster.list(DEPLOYMENTS, namespace, f"{OURS},app.kubernetes.io/component=operator")
    return any(int(one.get("status", {}).get("availableReplicas") or 0) for one in found)


def _loops(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Loops of the namespace, "" for all; none where the cluster does not know what that is."""
    return [*_listed(cluster, MODEL_LOOPS, namespace, "")]


def _alone(cluster: Cluster, namespace: str) -> bool:
    """Whether no other namespace has loops."""
    return all(one["metadata"]["namespace"] == namespace for one in _listed(cluster, MODEL_LOOPS, "", ""))


def _releases(cluster: Cluster, namespace: str) -> list[str]:
    """Helm's releases of ours: the instances that our Deployments name."""
    found = {
        str(one["metadata"]["labels"].get("app.kubernetes.io/instance", ""))
        for one in _listed(cluster, DEPLOYMENTS, namespace, f"{OURS},app.kubernetes.io/managed-by=Helm")
    }
    return sorted(found - {""})


def _names(cluster: Cluster, kind: Resource, namespace: str, labels: str) -> list[str]:
    return [str(one["metadata"]["name"]) for one in _listed(cluster, kind, namespace, labels)]


def _listed(cluster: Cluster, kind: Resource, namespace: str, labels: str) -> list[dict[str, Any]]:
    try:
        return cluster.list(kind, namespace, labels)
    except ClusterError as error:
        if error.code == 404:  # the cluster does not know this kind
            return []
        raise
