"""`helm upgrade` of chart trimtab to the next version, in the middle of a canary and under traffic, with real pods."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kopf", reason="kopf is not installed")

import installed_chart  # noqa: F401 - puts tests/helm on the path
from bare_cluster import LOOP, BareCluster, Clients
from chart_versions import NEXT, bumped
from rendering import NO_HELM, ROOT, helms

from trimtab.adapters.workloads import is_ready
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.widgets import until

CHART = ROOT / "helm/trimtab"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CLAIM = "r-trimtab"
PRESENT = "0.1.0"


def helm(executable: str, api: KubernetesApi, folder: Path, verb: str, chart: Path, **values: Any) -> None:
    """As a person runs it, with Helm's usual driver: its releases are Secrets."""
    given = [f"--set-json={key.replace('__', '.')}={json.dumps(value)}" for key, value in values.items()]
    kubeconfig = str(api.kubeconfig(folder / "helm-kubeconfig"))
    done = subprocess.run(
        [executable, verb, "r", str(chart), "--namespace", "default", *given],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": kubeconfig},
        check=False,
    )
    assert done.returncode == 0, done.stderr


def images(api: KubernetesApi, path: str = DEPLOYMENTS) -> set[str]:
    """Of all Deployments, or of all pods."""
    found = api.objects(path)
    templates = [one["spec"].get("template", one)["spec"] for one in found]
    return {one["containers"][0]["image"] for one in templates}


@pytest.mark.parametrize("executable", helms() or [pytest.param("", marks=pytest.mark.skip(reason=NO_HELM))])
def test_the_chart_is_installed_upgraded_and_rolled_back(executable: str, tmp_path: Path) -> None:
    with KubernetesApi() as api:
        helm(executable, api, tmp_path, "install", CHART)
        assert images(api) == {f"ghcr.io/trimtab/trimtab:{PRESENT}-python3.11"}
        definition = api.request(
            "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modelloops.trimtab.dev"
        )
        assert definition["status"]["conditions"]
        helm(executable, api, tmp_path, "upgrade", bumped("trimtab", tmp_path), operator__replicas=2)
        assert images(api) == {f"ghcr.io/trimtab/trimtab:{NEXT}-python3.11"}
        stored = [one["metadata"]["name"] for one in api.objects("/api/v1/namespaces/default/secrets")]
        assert sorted(stored) == ["sh.helm.release.v1.r.v1", "sh.helm.release.v1.r.v2"]
        assert len(api.objects("/api/v1/namespaces/default/persistentvolumeclaims")) == 1


class Installed(BareCluster):
    """A bare cluster whose operator is a pod of the chart's Deployment; `helm` is the last of those here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.node.claims[CLAIM] = self.volume
        self.images |= {f"ghcr.io/trimtab/trimtab:{one}-python3.11" for one in (PRESENT, NEXT)}
        self.images |= {f"ghcr.io/trimtab/trimtab-kserve:{one}" for one in (PRESENT, NEXT)}

    def helm(self, verb: str, chart: Path) -> None:
        """With what pods on the node for tests need to hear: its API server, and addresses of their own."""
        address = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        told = {"KUBECONFIG": str(self.kubeconfig), "TRIMTAB_LISTEN": "$(POD_IP)", "TRIMTAB_LEASE_SECONDS": "2"}
        entries = [{"name": key, "value": value} for key, value in told.items()]
        entries.append({"name": "TRIMTAB_ADDRESS", **address})
        seconds = {"operator__busySeconds": 1, "operator__idleSeconds": 1, "loops__drainSeconds": 10}
        helm(helms()[-1], self.api, self.folder, verb, chart, operator__env=entries, **seconds)

    def told(self) -> str:
        """The operators' logs are those of pods here."""
        (self.folder / "operator.log").write_text(self.node.log("r-trimtab"))
        return super().told()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Installed]:
    if not helms():
        pytest.skip(NO_HELM)
    with Installed(tmp_path) as made:
        yield made


def wait(cluster: Installed, test: Any, seconds: float = 120) -> None:
    try:
        until(test, seconds)
    except AssertionError:
        raise AssertionError(cluster.told()) from None


def memory(cluster: Installed) -> dict[str, Any]:
    """The loop's state as its last turn has it."""
    found = cluster.api.request("GET", "/api/v1/namespaces/default/configmaps/signs-turns")
    return dict(json.loads(found["data"]["turn"])["state"])


def rolled(cluster: Installed) -> bool:
    """Whether everything is of the next version, and nothing else is left."""
    kinds = [(one, one["metadata"]["ownerReferences"][0]["kind"]) for one in cluster.api.objects("/api/v1/pods")]
    pods = [one for one, kind in kinds if kind == "Deployment"]
    every = images(cluster.api) | {one["spec"]["containers"][0]["image"] for one in pods}
    return all(NEXT in one for one in every) and all(is_ready(one) for one in pods)


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_upgrade_in_the_middle_of_a_canary_loses_no_request_and_the_release_goes_on(
    cluster: Installed, tmp_path: Path
) -> None:
    loop = copy.deepcopy(LOOP)
    loop["spec"]["release"]["stepLeast"] = "20s"
    loop["spec"]["release"]["evidence"] = {"leastRequests": 20, "leastLabels": 0}
    cluster.give_rows()
    cluster.helm("install", CHART)
    cluster.api.request("POST", cluster.loops, loop)
    wait(cluster, lambda: cluster.status().get("champion") == "1" and bool(cluster.door()))
    with Clients(cluster) as clients:
        wait(cluster, lambda: clients.answers["1"] > 10)
        note = {"metadata": {"annotations": {"trimtab.dev/wish": "retrain"}}}
        cluster.api.request("PATCH", f"{cluster.loops}/signs", note, "application/merge-patch+json")
        wait(cluster, lambda: clients.answers["2"] > 5)
        before = memory(cluster)["release"]
        clients.lost.clear()
        cluster.helm("upgrade", bumped("trimtab", tmp_path))
        wait(cluster, lambda: rolled(cluster))
        after = memory(cluster)
        assert after["release"] is None or after["release"]["started"] == before["started"]
        wait(cluster, lambda: cluster.status().get("champion") == "2")
        promoted = clients.answers["2"]
        wait(cluster, lambda: clients.answers["2"] > promoted + 20)
    assert not [one for one in clients.lost if not one.startswith("label: 503")], clients.lost
    reasons = cluster.reasons()
    assert reasons.count("Promote") == 2
    assert reasons.count("Start") == 1
    assert "RollBack" not in reasons
