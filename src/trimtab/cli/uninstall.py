"""Taking trimtab out of a cluster again: loops first, so that their operator can still see them off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trimtab.adapters.cluster import LEASES, MODEL_LOOPS, Cluster, ClusterError, Resource
from trimtab.cli.made import (
    BINDINGS,
    CLAIMS,
    DEFINITIONS,
    DEPLOYMENTS,
    KINDS,
    OPERATORS,
    OURS,
    ROLES,
    WIDE,
    listed,
    loops,
    made,
    made_anywhere,
    names,
    turned,
)
from trimtab.spec import crd

ON_DELETE = "trimtab.dev/on-delete"
_PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.5
_SECRETS = Resource("", "v1", "secrets", "Secret")
_LEASE = "trimtab-operator"


@dataclass(frozen=True)
class _Thing:
    kind: Resource
    namespace: str
    name: str

    def told(self, home: str) -> str:
        """As a person reads it."""
        return f"{self.kind.kind} {self.name}{f' in {self.namespace}' if self.namespace not in ('', home) else ''}"


def plan(cluster: Cluster, namespace: str, keep_data: bool) -> list[str]:
    """What `remove` would remove, a line each."""
    places = _places(cluster, namespace)
    lines = [
        f"{_Thing(MODEL_LOOPS, place, name).told(namespace)} and what serves for it"
        for place in places
        for name in names(loops(cluster, place))
    ]
    lines += [one.told(namespace) for one in _things(cluster, namespace, places, keep_data)]
    lines += [f"the records of Helm's release {name}" for name in _releases(cluster, namespace)]
    if _alone(cluster, places) and cluster.get(DEFINITIONS, "", crd.NAME) is not None:
        lines += ["the definition of ModelLoop"]
    return lines


def remove(cluster: Cluster, namespace: str, keep_data: bool, tell: Callable[[str], None]) -> None:
    """Remove it; raises TrimtabError if the loops do not go."""
    releases, places = _releases(cluster, namespace), _places(cluster, namespace)
    for place in places:
        _remove_loops(cluster, namespace, place, tell)
    alone = _alone(cluster, places)
    for one in _things(cluster, namespace, places, keep_data):
        cluster.delete(one.kind, one.namespace, one.name)
        tell(f"removed {one.told(namespace)}")
    for release in releases:
        for name in names(listed(cluster, _SECRETS, namespace, f"owner=helm,name={release}")):
            cluster.delete(_SECRETS, namespace, name)
        tell(f"removed the records of Helm's release {release}")
    cluster.delete(LEASES, namespace, _LEASE)
    if alone:
        cluster.delete(DEFINITIONS, "", crd.NAME)
        tell("removed the definition of ModelLoop")
    else:
        tell("the definition of ModelLoop stays: other namespaces have loops")


def _places(cluster: Cluster, namespace: str) -> list[str]:
    """The namespace, and others whose loops its operator turns, as far as they may be looked at."""
    elsewhere = turned(cluster, namespace)
    if "" in elsewhere:
        elsewhere = sorted({one["metadata"]["namespace"] for one in loops(cluster, "")})
    return [namespace, *(one for one in elsewhere if one != namespace)]


def _things(cluster: Cluster, namespace: str, places: list[str], keep_data: bool) -> list[_Thing]:
    """Everything but loops, the records of Helm and the definition; the operator, who knows its places, goes last."""
    found: dict[_Thing, bool] = {}
    for place in places:
        for kind in (*KINDS, *(() if keep_data else (CLAIMS,))):
            for one in made(cluster, kind, place, namespace):
                role = (one["metadata"].get("labels") or {}).get("app.kubernetes.io/component", "")
                thing = _Thing(kind, place, str(one["metadata"]["name"]))
                found[thing] = kind is DEPLOYMENTS and role == "operator"
    for kind in (BINDINGS, ROLES, *WIDE):
        for one in _elsewhere(cluster, kind, namespace):
            meta = one["metadata"]
            found.setdefault(_Thing(kind, meta.get("namespace", ""), str(meta["name"])), False)
    return sorted(found, key=lambda thing: found[thing])


def _elsewhere(cluster: Cluster, kind: Resource, namespace: str) -> list[dict[str, Any]]:
    """What the charts made outside; nothing where one may not look: who may not could not install it there either."""
    try:
        return made_anywhere(cluster, kind, namespace)
    except ClusterError as error:
        if error.code == 403:
            return []
        raise


def _remove_loops(cluster: Cluster, namespace: str, place: str, tell: Callable[[str], None]) -> None:
    """Wait for the operator to see them off; without a running one its finalizer is taken away."""
    for name in names(loops(cluster, place)):
        cluster.merge(MODEL_LOOPS, place, name, {"metadata": {"annotations": {ON_DELETE: "remove"}}})
        cluster.delete(MODEL_LOOPS, place, name)
        tell(f"removing {_Thing(MODEL_LOOPS, place, name).told(namespace)}")
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while left := names(loops(cluster, place)):
        if not _operator_runs(cluster, namespace) or time.monotonic() > give_up:
            for name in left:
                cluster.merge(MODEL_LOOPS, place, name, {"metadata": {"finalizers": None}})
            return
        time.sleep(_POLL_SECONDS)


def _operator_runs(cluster: Cluster, namespace: str) -> bool:
    found = cluster.list(DEPLOYMENTS, namespace, OPERATORS)
    return any(int(one.get("status", {}).get("availableReplicas") or 0) for one in found)


def _alone(cluster: Cluster, places: list[str]) -> bool:
    """Whether no other namespace has loops."""
    return all(one["metadata"]["namespace"] in places for one in loops(cluster, ""))


def _releases(cluster: Cluster, namespace: str) -> list[str]:
    """Helm's releases of ours: the instances that our Deployments name."""
    found = {
        str(one["metadata"]["labels"].get("app.kubernetes.io/instance", ""))
        for one in listed(cluster, DEPLOYMENTS, namespace, f"{OURS},app.kubernetes.io/managed-by=Helm")
    }
    return sorted(found - {""})
