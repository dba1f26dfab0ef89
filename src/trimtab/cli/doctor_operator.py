"""Doctor's look at the operator: does it run, and may its account do what it must."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trimtab.adapters.cluster import PODS, Cluster, ClusterError, Resource
from trimtab.cli.finding import Finding
from trimtab.cli.made import DEPLOYMENTS, OPERATORS, OURS, environment_of, release_of

REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
_STUCK = (
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
)
# What the bare loop needs, whatever else the chart's switches add; tests hold it against the chart's rules.
NEEDED = (
    ("trimtab.dev", "modelloops", "list"),
    ("trimtab.dev", "modelloops", "watch"),
    ("trimtab.dev", "modelloops", "patch"),
    ("trimtab.dev", "modelloops/status", "patch"),
    ("", "events", "create"),
    ("batch", "jobs", "create"),
    ("apps", "deployments", "create"),
    ("apps", "deployments", "patch"),
    ("", "services", "create"),
    ("", "services", "patch"),
    ("", "configmaps", "create"),
    ("", "configmaps", "update"),
    ("", "pods", "list"),
)
_KSERVE = (("serving.kserve.io", "inferenceservices", "create"), ("serving.kserve.io", "inferenceservices", "patch"))
_GATEWAY = (
    ("gateway.networking.k8s.io", "httproutes", "create"),
    ("gateway.networking.k8s.io", "httproutes", "patch"),
)
_MORE = {"kserve-standard": _KSERVE, "kserve-knative": _KSERVE, "gateway-api": _GATEWAY}
Json = dict[str, Any]


def operator(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    """Its Deployment, and pods of ours that cannot start."""
    mend = f"helm upgrade --install trimtab helm/trimtab --namespace {namespace} --create-namespace"
    found = cluster.list(DEPLOYMENTS, namespace, OPERATORS)
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


def rights(cluster: Cluster, namespace: str) -> Iterable[Finding]:
    """What the operator's account may not do in the namespaces that it turns, as the API server judges it."""
    for one in cluster.list(DEPLOYMENTS, namespace, OPERATORS):
        told = environment_of(one)
        account = one["spec"].get("template", {}).get("spec", {}).get("serviceAccountName") or "default"
        places = [part.strip() for part in told.get("TRIMTAB_NAMESPACES", namespace).split(",")]
        needed = (*NEEDED, *_MORE.get(told.get("TRIMTAB_ROUTER", ""), ()))
        user = f"system:serviceaccount:{namespace}:{account}"
        missing: dict[str, list[str]] = {}
        try:
            for place in places:
                lacks = [
                    f"{verb} {what}"
                    for group, what, verb in needed
                    if not _may(cluster, user, place, group, what, verb)
                ]
                if lacks:
                    missing[place or "all namespaces"] = lacks
        except ClusterError as error:
            if error.code not in (403, 404):
                raise
            yield Finding("rights", "unknown", "you may not ask what the operator's account may do")
            return
        for place, lacks in missing.items():
            said = f"account {account} lacks {len(lacks)} of {len(needed)} rights in {place}: {', '.join(lacks)}"
            mend = f"helm upgrade {release_of(one)} helm/trimtab -n {namespace} --reset-then-reuse-values"
            yield Finding("rights", "broken", said, f"{mend} --set rbac.create=true{_switch(lacks)}")
        if not missing:
            yield Finding("rights", "ok", f"account {account} may do what an operator must")


def _switch(lacks: list[str]) -> str:
    """The chart's switches that add them."""
    said = " ".join(lacks)
    kserve = " --set rbac.kserve=true" if "inferenceservices" in said else ""
    return kserve + (" --set rbac.gatewayApi=true" if "httproutes" in said else "")


def _may(cluster: Cluster, user: str, namespace: str, group: str, what: str, verb: str) -> bool:
    resource, _, sub = what.partition("/")
    asked = {"namespace": namespace, "group": group, "resource": resource, "subresource": sub, "verb": verb}
    body = {"spec": {"user": user, "resourceAttributes": {key: value for key, value in asked.items() if value}}}
    found = cluster.create(REVIEWS, "", body)
    return bool((found.get("status") or {}).get("allowed"))
