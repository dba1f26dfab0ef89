"""Doctor's look at the volume that an operator and its loops share: is there one, and can all pods mount it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from trimtab.adapters.cluster import Cluster, ClusterError, Resource
from trimtab.cli.finding import Finding
from trimtab.cli.made import CLAIMS, DEPLOYMENTS, OPERATORS, OURS, environment_of, release_of

NODES = Resource("", "v1", "nodes", "Node")
CLASSES = Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass")
VOLUMES = Resource("", "v1", "persistentvolumes", "PersistentVolume")
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_HOST = "kubernetes.io/hostname"
ONE_NODE = 'sed "s/NODE/THE-NODE/" manifests/volume/one-node.yaml | kubectl apply -f -'
Json = dict[str, Any]


def volume(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    """The claim, or where one would come from."""
    claims = cluster.list(CLAIMS, namespace, OURS)
    classes = cluster.list(CLASSES, "")
    defaults = [
        one["metadata"]["name"]
        for one in classes
        if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    waiting = [one for one in claims if one.get("status", {}).get("phase") != "Bound"]
    for one in waiting:
        yield _waits(one, classes, defaults, namespace)
    for one in claims:
        if one not in waiting:
            yield _bound(cluster, one, namespace)
    if claims:
        return
    if defaults:
        yield Finding("storage", "ok", f"volumes come from class {defaults[0]}")
    else:
        yield Finding("storage", "broken", _no_default(classes), _mend(classes))


def _waits(claim: Json, classes: list[Json], defaults: list[str], namespace: str) -> Finding:
    """A claim that has no volume, and what it lacks."""
    name, wanted = claim["metadata"]["name"], claim["spec"].get("storageClassName") or ""
    if not wanted and not defaults:
        said = f"claim {name} waits for a volume of the default class, and {_no_default(classes)}"
        return Finding("storage", "broken", said, _mend(classes))
    there = [one["metadata"]["name"] for one in classes]
    if wanted and wanted not in there:
        said = f"claim {name} waits for a volume of class {wanted}, which there is not ({', '.join(there) or 'none'})"
        # A claim's class cannot be changed.
        mend = (
            f"kubectl -n {namespace} delete pvc {name} && helm upgrade {release_of(claim)} helm/trimtab -n {namespace} "
            f"--reset-then-reuse-values --set volume.storageClass={(defaults or there or ['CLASS'])[0]}"
        )
        return Finding("storage", "broken", said, mend)
    said = f"claim {name} waits for a volume of class {wanted or defaults[0]}"
    return Finding("storage", "unknown", said, f"kubectl -n {namespace} describe pvc {name}")


def _no_default(classes: list[Json]) -> str:
    named = ", ".join(one["metadata"]["name"] for one in classes) or "none"
    return f"no class of volumes is the default (there are: {named})"


def _mend(classes: list[Json]) -> str:
    """Make one the default; where there is none, a folder of a node is the least."""
    if not classes:
        return f"{ONE_NODE}   # or a provisioner: docs/kubernetes.md, The volume"
    note = json.dumps({"metadata": {"annotations": {_DEFAULT_CLASS: "true"}}})
    return f"kubectl patch storageclass {classes[0]['metadata']['name']} -p '{note}'"


def _bound(cluster: Cluster, claim: Json, namespace: str) -> Finding:
    """A volume that one node mounts at a time must not be wanted by pods of several."""
    name = claim["metadata"]["name"]
    if "ReadWriteMany" in (claim["spec"].get("accessModes") or ()):
        return Finding("storage", "ok", f"claim {name} is bound, for all nodes")
    try:
        nodes = [one for one in cluster.list(NODES, "") if not one.get("spec", {}).get("unschedulable")]
    except ClusterError:
        return Finding("storage", "ok", f"claim {name} is bound; whether there is more than one node cannot be seen")
    if len(nodes) < 2:
        return Finding("storage", "ok", f"claim {name} is bound, and there is one node")
    if _follows_its_node(cluster, claim) or _pinned(cluster, namespace):
        return Finding("storage", "ok", f"claim {name} is bound, and all of its pods go to one node")
    host = str((nodes[0]["metadata"].get("labels") or {}).get(_HOST) or nodes[0]["metadata"]["name"])
    escaped = _HOST.replace(".", "\\.")
    pins = " ".join(f"--set '{part}.nodeSelector.{escaped}={host}'" for part in ("operator", "loops"))
    said = f"claim {name} can be mounted by one node at a time, and there are {len(nodes)}: pods on others would hang"
    mend = f"helm upgrade {release_of(claim)} helm/trimtab -n {namespace} --reset-then-reuse-values {pins}"
    return Finding("storage", "broken", said, mend)


def _follows_its_node(cluster: Cluster, claim: Json) -> bool:
    """Whether the volume itself says on which node its pods must be, as local ones do."""
    try:
        found = cluster.get(VOLUMES, "", claim["spec"].get("volumeName") or "-")
    except ClusterError:
        return False
    return found is not None and f'"key": "{_HOST}"' in json.dumps(found["spec"].get("nodeAffinity") or {})


def _pinned(cluster: Cluster, namespace: str) -> bool:
    """Whether the values of the chart send operator and loops to chosen nodes."""
    found = cluster.list(DEPLOYMENTS, namespace, OPERATORS)
    return bool(found) and all(
        one["spec"]["template"]["spec"].get("nodeSelector")
        and environment_of(one).get("TRIMTAB_POD_NODES") not in (None, "", "{}", "null")
        for one in found
    )
