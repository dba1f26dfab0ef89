"""`trimtab cluster doctor` where nothing, little or nobody answers; with the chart: test_doctor, test_uninstall."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trimtab.spec import crd
from trimtab.testing.kubernetes.server import KubernetesApi

LABELS = {
    "app.kubernetes.io/part-of": "trimtab",
    "app.kubernetes.io/instance": "trimtab",
    "app.kubernetes.io/managed-by": "Helm",
}
SPACE = "/namespaces/ml"
DEPLOYMENTS = f"/apis/apps/v1{SPACE}/deployments"
LOOPS = f"/apis/trimtab.dev/v1alpha1{SPACE}/modelloops"
SPEC = {
    "scope": {"problem": "classification"},
    "data": {"source": {"path": "a.csv"}, "time": {"column": "t"}, "label": {"column": "y"}},
}


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with KubernetesApi() as server:
        server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "ml"}})
        yield server


def cluster(api: KubernetesApi, tmp_path: Path, *words: str, namespace: str = "ml") -> subprocess.CompletedProcess[str]:
    config = api.kubeconfig(tmp_path / "kubeconfig")
    command = [sys.executable, "-m", "trimtab", "cluster", *words, "-n", namespace, "--kubeconfig", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def diagnosis(api: KubernetesApi, tmp_path: Path) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """The exit code, and by part: state, sentence, mend."""
    ended = cluster(api, tmp_path, "doctor", "--json")
    assert ended.stderr == ""
    return ended.returncode, {
        one["part"]: (one["state"], one["sentence"], one["mend"]) for one in json.loads(ended.stdout)
    }


def node(api: KubernetesApi, cpu: str, memory: str) -> None:
    api.request("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    api.request(
        "PATCH",
        "/api/v1/nodes/n/status",
        {"status": {"allocatable": {"cpu": cpu, "memory": memory}}},
        "application/merge-patch+json",
    )


def install(api: KubernetesApi, available: int = 1) -> None:
    """What the chart leaves, as far as doctor looks."""
    api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd.definition())
    operator = {"metadata": {"name": "trimtab", "labels": {**LABELS, "app.kubernetes.io/component": "operator"}}}
    api.request("POST", DEPLOYMENTS, {**operator, "spec": {"replicas": 1}})
    status = {"status": {"availableReplicas": available}}
    api.request("PATCH", f"{DEPLOYMENTS}/trimtab/status", status, "application/merge-patch+json")
    claims = f"/api/v1{SPACE}/persistentvolumeclaims"
    api.request("POST", claims, {"metadata": {"name": "state", "labels": LABELS}, "spec": {}})
    api.request("PATCH", f"{claims}/state/status", {"status": {"phase": "Bound"}}, "application/merge-patch+json")
    node(api, "4", "8Gi")


def loop(api: KubernetesApi, **status: Any) -> None:
    api.request(
        "POST",
        LOOPS,
        {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "metadata": {"name": "m"}, "spec": SPEC},
    )
    if status:
        api.request("PATCH", f"{LOOPS}/m/status", {"status": status}, "application/merge-patch+json")


def test_an_empty_cluster_is_told_how_to_begin(api: KubernetesApi, tmp_path: Path) -> None:
    node(api, "1", "2Gi")
    code, found = diagnosis(api, tmp_path)
    assert code == 1
    assert found["API server"][0] == "ok"
    assert found["room"][:2] == ("broken", "1 nodes with 1 CPUs and 2.0 GiB; a loop wants 2 and 4 GiB")
    assert found["definition"][2].startswith("kubectl apply --server-side --force-conflicts -f helm/trimtab/crds/")
    assert found["operator"][2].startswith("helm upgrade --install trimtab")
    assert found["KServe"][0] == "absent"


def test_what_is_broken_is_named_with_its_mend(api: KubernetesApi, tmp_path: Path) -> None:
    install(api, available=0)
    loop(api, phase="Degraded", message="the volume is full")
    pods = f"/api/v1{SPACE}/pods"
    api.request("POST", pods, {"metadata": {"name": "trimtab-1", "labels": LABELS}, "spec": {}})
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    status = {"status": {"containerStatuses": [{"name": "operator", "state": waiting}]}}
    api.request("PATCH", f"{pods}/trimtab-1/status", status, "application/merge-patch+json")
    name = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}"
    versions = crd.definition()["spec"]["versions"]
    versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["description"] = "an older one"
    api.request("PATCH", name, {"spec": {"versions": versions}}, "application/merge-patch+json")
    code, found = diagnosis(api, tmp_path)
    assert code == 1
    assert found["definition"][0] == "broken"
    assert found["operator"][:2] == ("broken", "trimtab does not run")
    assert found["pods"][1] == "pod trimtab-1: ImagePullBackOff: no such image"
    assert found["loop"][1] == "m is Degraded: the volume is full"


def test_a_server_that_is_not_there_is_said_without_a_traceback(tmp_path: Path) -> None:
    with KubernetesApi() as gone:
        pass
    ended = cluster(gone, tmp_path, "doctor")
    assert ended.returncode == 1
    assert "the API server does not answer" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
