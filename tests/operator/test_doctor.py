"""`trimtab cluster doctor` on clusters that lack something: it names what, and its command mends it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from installed_chart import MERGE, install
from operator_product import model_loop
from test_bare_loop import rights
from test_cluster_commands import cluster as command

from trimtab.cli.doctor import DEFINITION_MEND
from trimtab.cli.doctor_operator import NEEDED
from trimtab.spec import crd
from trimtab.testing.kubernetes.server import KubernetesApi

ROOT = Path(__file__).parents[2]
KUBECTL = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
CLAIM = "/api/v1/namespaces/models/persistentvolumeclaims/r-trimtab"
DEFINITION = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd.NAME}"
OPERATOR = "/apis/apps/v1/namespaces/models/deployments/r-trimtab"
Findings = dict[str, list[tuple[str, str, str]]]


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with KubernetesApi() as server:
        yield server


def node(api: KubernetesApi, name: str = "n") -> None:
    labels = {"kubernetes.io/hostname": name}
    api.request("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    status = {"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}
    api.request("PATCH", f"/api/v1/nodes/{name}/status", status, MERGE)


def findings(api: KubernetesApi, folder: Path) -> tuple[int, Findings]:
    """The exit code, and by part: (state, sentence, mend) each."""
    ended = command(api, folder, "doctor", "--json", namespace="models")
    assert ended.stderr == ""
    found: Findings = {}
    for one in json.loads(ended.stdout):
        found.setdefault(one["part"], []).append((one["state"], one["sentence"], one["mend"]))
    return ended.returncode, found


def broken(found: Findings) -> list[str]:
    return [part for part, several in found.items() if any(state == "broken" for state, _, _ in several)]


def kubectl(api: KubernetesApi, folder: Path, words: str) -> None:
    """Do what doctor says."""
    if not KUBECTL:
        pytest.skip("no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
    environment = {**os.environ, "KUBECONFIG": str(api.kubeconfig(folder / "config")), "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", words.replace("kubectl ", f"{KUBECTL} ")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_fresh_installation_by_the_chart_has_nothing_to_mend(api: KubernetesApi, tmp_path: Path) -> None:
    install(api)
    node(api)
    loops = "/apis/trimtab.dev/v1alpha1/namespaces/models/modelloops"
    api.request("POST", loops, model_loop("m"))
    api.request("PATCH", f"{loops}/m/status", {"status": {"phase": "Serving"}}, MERGE)
    code, found = findings(api, tmp_path)
    assert (code, broken(found)) == (0, []), found
    assert found["loop"] == [("ok", "m is Serving", "")]
    assert "nothing to mend" in command(api, tmp_path, "doctor", namespace="models").stdout
    assert found["rights"] == [("ok", "account r-trimtab may do what an operator must", "")]
    assert found["namespace"][0][0] == "absent"
    kubectl(api, tmp_path, found["namespace"][0][2])
    assert findings(api, tmp_path)[1]["namespace"][0][:2] == (
        "ok",
        "models enforces Pod Security restricted, and our pods pass restricted",
    )


def test_a_definition_that_helm_owns_is_renewed_by_the_command(api: KubernetesApi, tmp_path: Path) -> None:
    install(api)
    node(api)
    versions = crd.definition()["spec"]["versions"]
    versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["description"] = "an older one"
    api.request("PATCH", f"{DEFINITION}?fieldManager=helm", {"spec": {"versions": versions}}, MERGE)
    _, found = findings(api, tmp_path)
    assert found["definition"][0][0] == "broken"
    assert found["definition"][0][2] == DEFINITION_MEND
    kubectl(api, tmp_path, DEFINITION_MEND)
    assert findings(api, tmp_path)[1]["definition"][0][0] == "ok"


def test_a_claim_that_waits_for_a_default_class_is_given_one(api: KubernetesApi, tmp_path: Path) -> None:
    install(api)
    node(api)
    api.request("PATCH", f"{CLAIM}/status", {"status": {"phase": "Pending"}}, MERGE)
    _, found = findings(api, tmp_path)
    (state, said, mend) = found["storage"][0]
    assert state == "broken"
    assert said.endswith("no class of volumes is the default (there are: none)")
    kubectl(api, tmp_path, mend.partition("   #")[0].replace("THE-NODE", "n"))
    (made,) = api.objects("/api/v1/persistentvolumes")
    assert made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["n"]
    api.request("POST", "/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "fast"}, "provisioner": "x"})
    (state, said, mend) = findings(api, tmp_path)[1]["storage"][0]
    assert (state, said.partition(", and ")[2]) == ("broken", "no class of volumes is the default (there are: fast)")
    kubectl(api, tmp_path, mend)
    (state, said, _) = findings(api, tmp_path)[1]["storage"][0]
    assert (state, said) == ("unknown", "claim r-trimtab waits for a volume of class fast")


def test_a_claim_of_a_class_that_there_is_not(api: KubernetesApi, tmp_path: Path) -> None:
    install(api, volume__storageClass="gold")
    node(api)
    api.request("PATCH", f"{CLAIM}/status", {"status": {"phase": "Pending"}}, MERGE)
    (state, said, mend) = findings(api, tmp_path)[1]["storage"][0]
    assert (state, said) == ("broken", "claim r-trimtab waits for a volume of class gold, which there is not (none)")
    assert "delete pvc r-trimtab && helm upgrade r helm/trimtab -n models --reset-then-reuse-values" in mend


def test_a_volume_of_one_node_among_several(api: KubernetesApi, tmp_path: Path) -> None:
    install(api)
    node(api, "a")
    node(api, "b")
    (state, said, mend) = findings(api, tmp_path)[1]["storage"][0]
    assert state == "broken"
    assert "by one node at a time, and there are 2" in said
    assert r"--set 'operator.nodeSelector.kubernetes\.io/hostname=a'" in mend
    assert mend.startswith("helm upgrade r helm/trimtab -n models ")
    values = dict(re.findall(r"--set '([^']*?)=(\w+)'", mend))
    assert set(values.values()) == {"a"}
    with KubernetesApi() as pinned:  # as the command would have it
        pins = {f"{part}__nodeSelector": {"kubernetes.io/hostname": "a"} for part in ("operator", "loops")}
        install(pinned, **pins)
        node(pinned, "a")
        node(pinned, "b")
        assert findings(pinned, tmp_path)[1]["storage"][0][0] == "ok"
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname"}]}]}}
    api.request("POST", "/api/v1/persistentvolumes", {"metadata": {"name": "v"}, "spec": {"nodeAffinity": affinity}})
    api.request("PATCH", CLAIM, {"spec": {"volumeName": "v"}}, MERGE)
    assert findings(api, tmp_path)[1]["storage"][0][0] == "ok"


def test_rights_that_are_missing_are_named(api: KubernetesApi, tmp_path: Path) -> None:
    install(api)
    node(api)
    role = "/apis/rbac.authorization.k8s.io/v1/namespaces/models/roles/r-trimtab"
    rules = [one for one in api.request("GET", role)["rules"] if "jobs" not in one["resources"]]
    api.request("PATCH", role, {"rules": rules}, MERGE)
    code, found = findings(api, tmp_path)
    assert (code, broken(found)) == (1, ["rights"])
    assert f"lacks 1 of {len(NEEDED)} rights in models: create jobs" in found["rights"][0][1]
    assert found["rights"][0][2].startswith("helm upgrade r helm/trimtab -n models ")
    env = api.request("GET", OPERATOR)["spec"]["template"]["spec"]["containers"][0]["env"]
    told = [
        *[one for one in env if one["name"] != "TRIMTAB_ROUTER"],
        {"name": "TRIMTAB_ROUTER", "value": "gateway-api"},
    ]
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/env", "value": told}]
    api.request("PATCH", OPERATOR, change, "application/json-patch+json")
    assert findings(api, tmp_path)[1]["rights"][0][2].endswith("--set rbac.gatewayApi=true")


def test_rights_that_are_looked_for_are_those_of_the_chart() -> None:
    assert {one for one in NEEDED if one not in rights()} == set()


def test_documents_that_are_refused_and_loops_that_nobody_turns(api: KubernetesApi, tmp_path: Path) -> None:
    install(api)
    node(api)
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    loops = "/apis/trimtab.dev/v1alpha1/namespaces/{}/modelloops"
    api.request("POST", loops.format("elsewhere"), model_loop("lost"))
    api.request("POST", loops.format("models"), model_loop("wrong"))
    said = "spec.monitoring.alarms[0].metric: not a metric"
    condition = {"type": "Accepted", "status": "False", "reason": "DocumentRefused", "message": said}
    status: dict[str, Any] = {
        "phase": "Failed",
        "conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
    api.request("PATCH", f"{loops.format('models')}/wrong/status", {"status": status}, MERGE)
    code, found = findings(api, tmp_path)
    assert code == 1
    refused, lost = found["loop"]
    assert refused[1] == f"wrong: its document is refused, so nothing of it is done: {said}"
    assert refused[2] == "kubectl -n models edit modelloop wrong"
    assert lost[1] == "lost in namespace elsewhere: no operator turns loops there (they do in: models)"
    assert "helm install trimtab helm/trimtab -n elsewhere" in lost[2]
