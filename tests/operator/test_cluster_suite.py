"""The suite for real clusters (tests/cluster), as far as the API server for tests can stand in for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.spec import crd
from trimtab.testing.kubernetes.server import KubernetesApi

ROOT = Path(__file__).parents[2]
KUBECTL = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CONTEXT = "for-tests"


def suite(api: KubernetesApi, folder: Path, allowed: str = CONTEXT) -> subprocess.CompletedProcess[str]:
    told = {
        **os.environ,
        "KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig", CONTEXT)),
        "TRIMTAB_CLUSTER_TESTS_MAY_USE_CONTEXT": allowed,
        "TRIMTAB_KUBECTL": str(KUBECTL),
        "HOME": str(folder),
    }
    command = [sys.executable, "-m", "pytest", "-m", "cluster", "-q", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.run(
        [*command, "tests/cluster"], cwd=ROOT, env=told, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.skipif(not KUBECTL, reason="no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
def test_the_api_tier_passes_and_leaves_the_cluster_as_it_was(tmp_path: Path) -> None:
    with KubernetesApi() as api:
        older = crd.definition()
        older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["description"] = "an older one"
        older["metadata"]["labels"] = {"whose": "somebody's"}
        api.request("POST", DEFINITIONS, older)
        before = {one["metadata"]["name"] for one in api.objects("/api/v1/namespaces")}
        done = suite(api, tmp_path)
        assert done.returncode == 0, done.stdout[-6000:]
        assert "failed" not in done.stdout
        assert "error" not in done.stdout.lower().splitlines()[-1]
        assert "evaluates no CEL rules" in done.stdout
        assert "this API server has no controllers" in done.stdout
        assert "has no node that is ready" in done.stdout
        left = api.request("GET", f"{DEFINITIONS}/{crd.NAME}")
        assert left["spec"] == older["spec"]
        assert left["metadata"]["labels"] == {"whose": "somebody's"}
        assert {one["metadata"]["name"] for one in api.objects("/api/v1/namespaces")} == before


@pytest.mark.local
@pytest.mark.skipif(not KUBECTL, reason="no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
def test_a_context_that_nobody_allowed_is_not_touched(tmp_path: Path) -> None:
    with KubernetesApi() as api:
        done = suite(api, tmp_path, allowed="another")
        assert done.returncode in (0, 5)
        assert "neither kind-* nor allowed" in done.stdout
        assert not [call for call in api.calls if call.plural]
