"""What a cluster has of what trimtab needs, each finding with the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.adapters.cluster import MODEL_LOOPS, PODS, Cluster, ClusterError, Resource
from trimtab.spec import crd

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass")
NODES = Resource("", "v1", "nodes", "Node")
SERVICES = Resource("", "v1", "services", "Service")
OURS = "app.kubernetes.io/part-of=trimtab"
_OLDEST = (1, 25)
_CPUS, _BYTES = 2.0, 4 * 1024**3
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "m": 1e-3, "": 1}
_STUCK = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CrashLoopBackOff", "CreateContainerConfigError")
_PARTS = (
    ("KServe", "inferenceservices.serving.kserve.io", "release through InferenceServices"),
    ("Gateway API", "httproutes.gateway.networking.k8s.io", "release through HTTPRoutes"),
    ("Prometheus operator", "servicemonitors.monitoring.coreos.com", "monitors and alerts"),
)
Json = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One part of the cluster. `absent`: not there and not needed; `unknown`: may not be looked at."""

    part: str
    state: Literal["ok", "absent", "unknown", "broken"]
    sentence: str
    mend: str = ""


def examine(cluster: Cluster, namespace: str) -> list[Finding]:
    """Every finding; if the API server does not answer, only that one."""
    first = _server(cluster)
    if first.state == "broken":
        return [first]
    found = [first]
    checks: tuple[tuple[str, Callable[[Cluster, str], Iterable[Finding]]], ...] = (
        ("room", _room),
        ("storage", _storage),
        ("definition", _definition),
        ("operator", _operator),
        ("loops", _loops),
        ("parts", _parts),
    )
    for part, check in checks:
        try:
            found += check(cluster, namespace)
        except ClusterError as error:
            found.append(Finding(part, "unknown", str(error)))
    return found


def _server(cluster: Cluster) -> Finding:
    try:
        told = cluster.version()
    except ClusterError as error:
        return Finding("API server", "broken", str(error), "kubectl cluster-info")
    version = str(told.get("gitVersion", ""))
    number = re.match(r"v?(\d+)\.(\d+)", version)
    if number and (int(number[1]), int(number[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        return Finding("API server", "broken", f"it is {version}; trimtab needs {oldest} or newer", "upgrade it")
    return Finding("API server", "ok", version)


def _room(cluster: Cluster, _: str) -> Iterable[Finding]:
    nodes = [one for one in cluster.list(NODES, "") if not one.get("spec", {}).get("unschedulable")]
    room = [one.get("status", {}).get("allocatable", {}) for one in nodes]
    cpus = sum(quantity(one.get("cpu", "0")) for one in room)
    memory = sum(quantity(one.get("memory", "0")) for one in room)
    said = f"{len(nodes)} nodes with {cpus:g} CPUs and {memory / 2**30:.1f} GiB"
    if cpus < _CPUS or memory < _BYTES * 0.9:  # a node of 4 GiB offers a little less
        yield Finding("room", "broken", f"{said}; a loop wants {_CPUS:g} and 4 GiB", "add a node, or a larger one")
    else:
        yield Finding("room", "ok", said)


def _storage(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    claims = cluster.list(CLAIMS, namespace, OURS)
    waiting = [one for one in claims if one.get("status", {}).get("phase") != "Bound"]
    classes = cluster.list(CLASSES, "")
    defaults = [
        one["metadata"]["name"]
        for one in classes
        if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    for one in waiting:
        wanted = one["spec"].get("storageClassName") or "the default class"
        yield Finding(
            "storage",
            "broken" if not defaults and not one["spec"].get("storageClassName") else "unknown",
            f"claim {one['metadata']['name']} waits for a volume of {wanted}",
            f"kubectl -n {namespace} describe pvc {one['metadata']['name']}",
        )
    if waiting:
        return
    if claims:
        yield Finding("storage", "ok", f"{len(claims)} volumes are bound")
    elif defaults:
        yield Finding("storage", "ok", f"volumes come from class {defaults[0]}")
    else:
        named = ", ".join(one["metadata"]["name"] for one in classes) or "none"
        mend = f"helm upgrade --install trimtab helm/trimtab -n {namespace} --set {_storage_value(classes)}"
        yield Finding("storage", "broken", f"no class of volumes is the default (there are: {named})", mend)


def _storage_value(classes: list[Json]) -> str:
    return f"volume.storageClass={classes[0]['metadata']['name'] if classes else 'NAME'}"


def _definition(cluster: Cluster, _: str) -> Iterable[Finding]:
    wanted = crd.definition()
    found = cluster.get(DEFINITIONS, "", crd.NAME)
    mend = "kubectl apply --server-side -f helm/trimtab/crds/modelloops.trimtab.dev.yaml"
    if found is None:
        yield Finding("definition", "broken", "the cluster does not know ModelLoop", mend)
        return
    ours, theirs = (one["spec"]["versions"][0]["schema"] for one in (wanted, found))
    if ours == theirs:
        yield Finding("definition", "ok", "the cluster knows ModelLoop as this version of trimtab does")
    else:
        said = "the cluster knows ModelLoop as another version of trimtab does: keys may be refused or dropped"
        yield Finding("definition", "broken", said, mend)


def _operator(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    mend = f"helm upgrade --install trimtab helm/trimtab --namespace {namespace} --create-namespace"
    found = cluster.list(DEPLOYMENTS, namespace, f"{OURS},app.kubernetes.io/component=operator")
    if not found:
        yield Finding("operator", "broken", f"there is none in namespace {namespace}", mend)
    for one in found:
        name, ready = one["metadata"]["name"], int(one.get("status", {}).get("availableReplicas") or 0)
        if ready:
            yield Finding("operator", "ok", f"{name}: {ready} of {one['spec'].get('replicas', 1)} run")
        else:
            why = f"kubectl -n {namespace} logs deploy/{name} --previous"
            yield Finding("operator", "broken", f"{name} does not run", why)
    for pod in cluster.list(PODS, namespace, OURS):
        for status in pod.get("status", {}).get("containerStatuses") or ():
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in _STUCK:
                name = pod["metadata"]["name"]
                said = f"pod {name}: {waiting['reason']}: {str(waiting.get('message', ''))[:200]}"
                yield Finding("pods", "broken", said, f"kubectl -n {namespace} describe pod {name}")


def _loops(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    for one in cluster.list(MODEL_LOOPS, namespace):
        name, status = one["metadata"]["name"], one.get("status") or {}
        phase = str(status.get("phase") or "")
        if phase in ("Failed", "Degraded"):
            said = f"{name} is {phase}: {status.get('message', '')}"
            yield Finding("loop", "broken", said, f"kubectl -n {namespace} describe modelloop {name}")
        elif phase:
            yield Finding("loop", "ok", f"{name} is {phase}")
        else:
            mend = f"kubectl -n {namespace} logs deploy/trimtab"
            yield Finding("loop", "broken", f"no operator has taken up {name}", mend)


def _parts(cluster: Cluster, _: str) -> Iterable[Finding]:
    for part, name, use in _PARTS:
        there = cluster.get(DEFINITIONS, "", name) is not None
        yield Finding(part, "ok" if there else "absent", f"{'there' if there else 'not there'}: {use}")
    there = cluster.get(SERVICES, "kubeflow", "ml-pipeline") is not None
    yield Finding(
        "Kubeflow Pipelines", "ok" if there else "absent", f"{'there' if there else 'not there'}: runs in its UI"
    )


def quantity(text: object) -> float:
    """A Kubernetes quantity as a number: `500m` is 0.5, `4Gi` is 4294967296; 0 for what is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]{0,2})", str(text))
    return float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0
