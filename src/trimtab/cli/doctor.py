"""What a cluster has of what trimtab needs, each finding with the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from trimtab.adapters.cluster import Cluster, ClusterError, Resource
from trimtab.cli.doctor_loops import loops_here, loops_nobody_turns
from trimtab.cli.doctor_operator import operator, rights
from trimtab.cli.doctor_volume import NODES, volume
from trimtab.cli.finding import Finding, quantity
from trimtab.cli.made import DEFINITIONS, SERVICES
from trimtab.spec import crd

NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
DEFINITION_MEND = "kubectl apply --server-side --force-conflicts -f helm/trimtab/crds/modelloops.trimtab.dev.yaml"
_OLDEST = (1, 25)
_CPUS, _BYTES = 2.0, 4 * 1024**3
_LEVEL = "pod-security.kubernetes.io/enforce"
_PARTS = (
    ("KServe", "inferenceservices.serving.kserve.io", "release through InferenceServices"),
    ("Gateway API", "httproutes.gateway.networking.k8s.io", "release through HTTPRoutes"),
    ("Prometheus operator", "servicemonitors.monitoring.coreos.com", "monitors and alerts"),
)


def examine(cluster: Cluster, namespace: str) -> list[Finding]:
    """Every finding; if the API server does not answer, only that one."""
    first = _server(cluster)
    if first.state == "broken":
        return [first]
    found = [first]
    checks: tuple[tuple[str, Callable[[Cluster, str], Iterable[Finding]]], ...] = (
        ("room", _room),
        ("namespace", _namespace),
        ("storage", volume),
        ("definition", _definition),
        ("operator", operator),
        ("rights", rights),
        ("loops", loops_here),
        ("loops elsewhere", loops_nobody_turns),
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


def _namespace(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    """Every one of our pods passes `restricted`, so no level is too strict; none is a wish left open."""
    found = cluster.get(NAMESPACES, "", namespace)
    if found is None:
        said = f"there is no namespace {namespace}"
        yield Finding("namespace", "broken", said, f"kubectl create namespace {namespace}")
        return
    level = (found["metadata"].get("labels") or {}).get(_LEVEL, "")
    if level:
        yield Finding("namespace", "ok", f"{namespace} enforces Pod Security {level}, and our pods pass restricted")
    else:
        mend = f"kubectl label namespace {namespace} {_LEVEL}=restricted"
        said = f"{namespace} enforces no level of Pod Security; our pods pass restricted, so it may"
        yield Finding("namespace", "absent", said, mend)


def _definition(cluster: Cluster, _: str) -> Iterable[Finding]:
    wanted = crd.definition()
    found = cluster.get(DEFINITIONS, "", crd.NAME)
    if found is None:
        yield Finding("definition", "broken", "the cluster does not know ModelLoop", DEFINITION_MEND)
        return
    ours, theirs = (one["spec"]["versions"][0]["schema"] for one in (wanted, found))
    if ours == theirs:
        yield Finding("definition", "ok", "the cluster knows ModelLoop as this version of trimtab does")
    else:
        said = "the cluster knows ModelLoop as another version of trimtab does: keys may be refused or dropped"
        yield Finding("definition", "broken", said, DEFINITION_MEND)


def _parts(cluster: Cluster, _: str) -> Iterable[Finding]:
    for part, name, use in _PARTS:
        there = cluster.get(DEFINITIONS, "", name) is not None
        yield Finding(part, "ok" if there else "absent", f"{'there' if there else 'not there'}: {use}")
    there = cluster.get(SERVICES, "kubeflow", "ml-pipeline") is not None
    yield Finding(
        "Kubeflow Pipelines", "ok" if there else "absent", f"{'there' if there else 'not there'}: runs in its UI"
    )
