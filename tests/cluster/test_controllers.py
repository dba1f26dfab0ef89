"""What needs the cluster's controllers: Deployments that get pods which Pod Security lets in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from real_cluster import Kubectl, eventually

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/helm")]

from rendering import NO_HELM, helms, rendered  # noqa: E402

pytestmark = pytest.mark.usefixtures("definition")


@pytest.fixture
def controllers(kubectl: Kubectl) -> None:
    """Skips where nobody makes the default service account."""
    try:
        eventually(lambda: kubectl.run("get", "serviceaccount", "default").returncode == 0, 15, "no controllers")
    except AssertionError:
        pytest.skip("this API server has no controllers: no default service account after 15 s")


@pytest.mark.skipif(not helms(), reason=NO_HELM)
@pytest.mark.usefixtures("controllers")
def test_every_deployment_gets_its_pods(kubectl: Kubectl) -> None:
    objects = [
        {**one, "metadata": {**one["metadata"], "namespace": kubectl.namespace}}
        for one in rendered(helms()[-1], "trimtab", {})
        if one["kind"] != "CustomResourceDefinition"
    ]
    kubectl("apply", "--server-side", "-f", "-", given=objects)
    wanted = [one["metadata"]["name"] for one in objects if one["kind"] == "Deployment"]

    def made() -> bool:
        sets = kubectl.get("replicasets")["items"]
        return {one["metadata"]["ownerReferences"][0]["name"] for one in sets if one["status"].get("replicas")} >= set(
            wanted
        )

    eventually(made, 60, f"pods of {wanted}")
    events = kubectl.get("events")["items"]
    assert [one["message"] for one in events if one["reason"] == "FailedCreate"] == []
