"""The chart of the operator: the rights are those that its code uses, where it uses them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest
from rendering import NAMESPACE, ROOT, of_kind, rendered
from switches import GATEWAY, KSERVE, KUBEFLOW

Json = dict[str, Any]
# What each call of trimtab.adapters.cluster asks the API server for. Applying what is not there makes it.
_VERBS = {
    "get": ("get",),
    "list": ("list",),
    "create": ("create",),
    "replace": ("update",),
    "merge": ("patch",),
    "apply": ("patch", "create"),
    "delete": ("delete",),
}
# kopf's own calls, and the API server's question about runs that name a loop as their owner.
_KOPF = {("modelloops", verb) for verb in ("get", "list", "watch", "patch")} | {
    ("modelloops/status", "patch"),
    ("modelloops/finalizers", "update"),
    ("events", "create"),
    ("events", "patch"),
}


def _rights(objects: tuple[Json, ...], suffix: str = "") -> set[tuple[str, str]]:
    roles = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == f"r-trimtab{suffix}"]
    return {
        (name, verb) for one in roles for rule in one["rules"] for name in rule["resources"] for verb in rule["verbs"]
    }


def _asked() -> Iterator[tuple[str, str]]:
    """(resource, verb) of every call that the operator's code makes, by the names that it gives to resources."""
    sources = [*(ROOT / "src/trimtab/adapters").rglob("*.py"), *(ROOT / "src/trimtab/operator").rglob("*.py")]
    trees = [ast.parse(path.read_text()) for path in sources]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    # Names of arguments: in adapters/deployments.py and operator/removing.py.
    plural = {"resource": ("deployments", "services")}
    plural["kind"] = (*plural["resource"], "httproutes", "inferenceservices")
    for tree in trees:
        for node in tree.body:
            made = node.value if isinstance(node, ast.Assign) else None
            if isinstance(made, ast.Call) and getattr(made.func, "id", "") == "Resource":
                assert isinstance(node, ast.Assign)
                plural[getattr(node.targets[0], "id", "")] = (ast.literal_eval(made.args[2]),)
    for call in calls:
        on = call.func.value if isinstance(call.func, ast.Attribute) else None
        name = getattr(on, "attr", getattr(on, "id", ""))
        if name.lstrip("_") != "cluster" or not call.args or getattr(call.args[0], "id", "") not in plural:
            continue
        assert isinstance(call.func, ast.Attribute)
        for kind in plural[getattr(call.args[0], "id", "")]:
            yield from ((kind, verb) for verb in _VERBS[call.func.attr])


def test_the_rights_are_those_that_the_code_uses(executable: str) -> None:
    """Neither less, which a cluster would refuse, nor more."""
    asked = set(_asked()) - {("leases", verb) for verb in ("get", "create", "update")}
    assert len(asked) > 15
    objects = rendered(executable, "trimtab", {"rbac.kserve": True, "rbac.gatewayApi": True})
    may = _rights(objects)
    assert asked - may == set()
    assert may - asked - _KOPF == set()


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ({}, set()),
        (GATEWAY, {"gateway.networking.k8s.io"}),
        ({**GATEWAY, "kserve.storageUri": "s3://b/m"}, {"gateway.networking.k8s.io", "serving.kserve.io"}),
        (KSERVE, {"gateway.networking.k8s.io", "serving.kserve.io"}),
        ({"rbac.kserve": True}, {"gateway.networking.k8s.io", "serving.kserve.io"}),
        ({"rbac.gatewayApi": True}, {"gateway.networking.k8s.io"}),
    ],
)
def test_the_rights_follow_the_router(executable: str, values: Json, groups: set[str]) -> None:
    (role,) = [
        one
        for one in of_kind(rendered(executable, "trimtab", values), "Role")
        if one["metadata"]["name"] == "r-trimtab"
    ]
    found = {group for rule in role["rules"] for group in rule["apiGroups"]}
    assert found & {"gateway.networking.k8s.io", "serving.kserve.io"} == groups
    assert (
        ("httproutes", "patch") in {(r, v) for rule in role["rules"] for r in rule["resources"] for v in rule["verbs"]}
    ) == (values.get("router.kind") == "gateway-api" or "rbac.gatewayApi" in values)


def test_the_gateway_is_read_where_it_is(executable: str) -> None:
    name = f"r-trimtab-{NAMESPACE}-gateway"
    (role,) = [
        one for one in of_kind(rendered(executable, "trimtab", GATEWAY), "Role") if one["metadata"]["name"] == name
    ]
    assert role["metadata"]["namespace"] == "infra"
    (rule,) = role["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (["gateways"], ["public"], ["get"])


def test_a_profile_lets_the_operator_do_what_its_client_asks_of_kfp(executable: str) -> None:
    objects = rendered(executable, "trimtab", {**KUBEFLOW, "pipelines.namespace": "team"})
    name = f"r-trimtab-{NAMESPACE}-pipelines"
    (role,) = [one for one in of_kind(objects, "Role") if one["metadata"]["name"] == name]
    (binding,) = [one for one in of_kind(objects, "RoleBinding") if one["metadata"]["name"] == name]
    assert {one["metadata"]["namespace"] for one in (role, binding)} == {"team"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "r-trimtab", "namespace": NAMESPACE}]
    assert _rights(objects, f"-{NAMESPACE}-pipelines") == {
        *((kind, verb) for kind in ("pipelines", "experiments", "runs") for verb in ("get", "list", "create")),
        ("runs", "terminate"),
    }
    assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {"pipelines.kubeflow.org"}
