"""What RBAC would say: a SubjectAccessReview is answered by the roles and bindings that the server holds.

The server itself lets everybody do everything; only questions are answered. Users and service accounts are known,
groups are not; resource names are not looked at (a rule that has some grants nothing here).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.testing.kubernetes.store import Store

_GROUP, _VERSION = "rbac.authorization.k8s.io", "v1"
Json = dict[str, Any]


def review(store: Store, body: Mapping[str, Any]) -> Json:
    """The review with its status."""
    spec = body.get("spec") or {}
    asked = spec.get("resourceAttributes") or {}
    allowed = any(_grants(rule, asked) for rule in _rules(store, str(spec.get("user", "")), asked.get("namespace", "")))
    head = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}}
    return {**head, "spec": dict(spec), "status": {"allowed": allowed}}


def _rules(store: Store, user: str, namespace: str) -> Iterator[Json]:
    """Rules of all roles that are bound to the user, for the namespace ("" for all of them)."""
    roles = {plural: store.find(_GROUP, _VERSION, plural) for plural in ("roles", "clusterroles")}
    bindings = store.all(store.find(_GROUP, _VERSION, "clusterrolebindings"), "")
    if namespace:
        bindings = [*bindings, *store.all(store.find(_GROUP, _VERSION, "rolebindings"), namespace)]
    for binding in bindings:
        if not any(_is(subject, user) for subject in binding.get("subjects") or ()):
            continue
        reference = binding["roleRef"]
        kind = roles["clusterroles" if reference["kind"] == "ClusterRole" else "roles"]
        for role in store.all(kind, "" if reference["kind"] == "ClusterRole" else namespace):
            if role["metadata"]["name"] == reference["name"]:
                yield from role.get("rules") or ()


def _is(subject: Mapping[str, Any], user: str) -> bool:
    if subject.get("kind") == "ServiceAccount":
        return user == f"system:serviceaccount:{subject.get('namespace')}:{subject['name']}"
    return subject.get("kind") == "User" and user == subject["name"]


def _grants(rule: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    what = "/".join(part for part in (asked.get("resource", ""), asked.get("subresource", "")) if part)
    wanted = (("apiGroups", asked.get("group", "")), ("resources", what), ("verbs", asked.get("verb", "")))
    return not rule.get("resourceNames") and all({one, "*"} & set(rule.get(key) or ()) for key, one in wanted)
