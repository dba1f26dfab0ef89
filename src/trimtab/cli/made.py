"""The one way of finding what trimtab made in a cluster, for those who look at it and those who take it away.

Three marks: charts and pods of a loop say `part-of: trimtab`; what is made for a loop names it (`trimtab.dev/loop`);
and Helm notes the namespace of the release on all that it makes, wherever that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trimtab.adapters.cluster import CONFIG_MAPS, JOBS, MODEL_LOOPS, Cluster, ClusterError, Resource

Json = dict[str, Any]
OURS = "app.kubernetes.io/part-of=trimtab"
OF_A_LOOP = "trimtab.dev/loop"
RELEASED_IN = "meta.helm.sh/release-namespace"
OPERATORS = f"{OURS},app.kubernetes.io/component=operator"
_RBAC = "rbac.authorization.k8s.io"
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding")
ROLES = Resource(_RBAC, "v1", "roles", "Role")
WIDE = (
    Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding"),
    Resource(_RBAC, "v1", "clusterroles", "ClusterRole"),
)
# First what sends requests on, then what answers them, last what it stood on.
KINDS = (
    Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
    Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService"),
    DEPLOYMENTS,
    Resource("batch", "v1", "cronjobs", "CronJob"),
    JOBS,
    SERVICES,
    CONFIG_MAPS,
    Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    BINDINGS,
    ROLES,
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    Resource("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor"),
    Resource("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor"),
    Resource("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule"),
    Resource("serving.kserve.io", "v1alpha1", "servingruntimes", "ServingRuntime"),
)


def made(cluster: Cluster, kind: Resource, namespace: str, home: str) -> list[Json]:
    """Objects of this kind in the namespace that the operator of namespace `home`, or a chart released there, made."""
    found: dict[str, Json] = {}
    for selector in (OURS, OF_A_LOOP):
        for one in listed(cluster, kind, namespace, selector):
            meta = one["metadata"]
            released = (meta.get("annotations") or {}).get(RELEASED_IN, "")
            if released == home or (not released and (namespace == home or OF_A_LOOP in (meta.get("labels") or {}))):
                found[meta["name"]] = one
    return [found[name] for name in sorted(found)]


def made_anywhere(cluster: Cluster, kind: Resource, home: str) -> list[Json]:
    """Objects in any namespace, or in none, that charts released in namespace `home` made."""
    found = listed(cluster, kind, "", OURS)
    return [one for one in found if (one["metadata"].get("annotations") or {}).get(RELEASED_IN) == home]


def turned(cluster: Cluster, namespace: str) -> list[str]:
    """Namespaces whose loops the operators in `namespace` ("" for anywhere) turn; [""] if one turns all."""
    found = set()
    for one in listed(cluster, DEPLOYMENTS, namespace, OPERATORS):
        told = environment_of(one).get("TRIMTAB_NAMESPACES")
        found |= {one["metadata"]["namespace"]} if told is None else {part.strip() for part in told.split(",")}
    return [""] if "" in found else sorted(found)


def loops(cluster: Cluster, namespace: str) -> list[Json]:
    """Loops of the namespace, "" for all; none where the cluster does not know what that is."""
    return listed(cluster, MODEL_LOOPS, namespace, "")


def listed(cluster: Cluster, kind: Resource, namespace: str, labels: str) -> list[Json]:
    """Objects that match; none where the cluster does not know the kind."""
    try:
        return cluster.list(kind, namespace, labels)
    except ClusterError as error:
        if error.code == 404:
            return []
        raise


def names(found: Iterable[Json]) -> list[str]:
    """Their names."""
    return [str(one["metadata"]["name"]) for one in found]


def environment_of(deployment: Json) -> dict[str, str]:
    """The plain environment variables of a Deployment's containers."""
    containers = deployment["spec"].get("template", {}).get("spec", {}).get("containers") or ()
    return {one["name"]: str(one.get("value", "")) for each in containers for one in each.get("env") or ()}


def release_of(found: Json) -> str:
    """Helm's release that an object is of; what the chart is called where nobody says."""
    return str((found["metadata"].get("labels") or {}).get("app.kubernetes.io/instance") or "trimtab")
