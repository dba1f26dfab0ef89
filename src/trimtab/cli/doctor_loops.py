"""Doctor's look at loops: how they stand, and those that nobody turns."""

from __future__ import annotations

from collections.abc import Iterable

from trimtab.adapters.cluster import MODEL_LOOPS, Cluster, ClusterError
from trimtab.cli.finding import Finding
from trimtab.cli.made import loops, turned


def loops_here(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    """Each loop of the namespace."""
    for one in cluster.list(MODEL_LOOPS, namespace):
        name, status = one["metadata"]["name"], one.get("status") or {}
        phase = str(status.get("phase") or "")
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        accepted = conditions.get("Accepted") or {}
        if accepted.get("status") == "False":
            said = f"{name}: its document is refused, so nothing of it is done: {accepted.get('message', '')}"
            yield Finding("loop", "broken", said, f"kubectl -n {namespace} edit modelloop {name}")
        elif phase in ("Failed", "Degraded"):
            said = f"{name} is {phase}: {status.get('message', '')}"
            yield Finding("loop", "broken", said, f"kubectl -n {namespace} describe modelloop {name}")
        elif phase:
            yield Finding("loop", "ok", f"{name} is {phase}")
        else:
            mend = f"kubectl -n {namespace} logs deploy/trimtab"
            yield Finding("loop", "broken", f"no operator has taken up {name}", mend)


def loops_nobody_turns(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    """Loops in other namespaces than any operator looks at; silent where one may not look either."""
    try:
        everywhere = loops(cluster, "")
        places = turned(cluster, "")
    except ClusterError as error:
        if error.code == 403:
            return
        raise
    if places == [""]:
        return
    for one in everywhere:
        place, name = one["metadata"]["namespace"], one["metadata"]["name"]
        if place != namespace and place not in places:
            said = (
                f"{name} in namespace {place}: no operator turns loops there (they do in: {', '.join(places) or '-'})"
            )
            mend = (
                f"kubectl -n {place} get modelloop {name} -o yaml > loop.yaml, set its namespace to {namespace} and "
                f"apply it; or helm install trimtab helm/trimtab -n {place}"
            )
            yield Finding("loop", "broken", said, mend)
