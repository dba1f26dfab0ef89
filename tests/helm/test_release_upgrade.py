"""`helm install` and `upgrade` for real, by Helm 3 and by Helm 4 (server-side apply), on the API server for tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chart_versions import NEXT, bumped
from monitor_switches import WATCHED
from release_switches import BOTH, CHALLENGER, CHAMPION, SPLIT
from rendering import ROOT

from trimtab.adapters.cluster import CONFIG_MAPS, Cluster, Resource
from trimtab.testing.kubernetes.server import KubernetesApi

Json = dict[str, Any]
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
PROMOTED = {key.replace("challenger", "champion"): value for key, value in CHALLENGER.items()}


class Releases:
    """One release and its objects."""

    def __init__(self, executable: str, api: KubernetesApi, folder: Path) -> None:
        self._executable = executable
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig")),
        }
        self._cluster = Cluster.connect(url=api.url)

    def __call__(self, verb: str, values: Json, chart: str | Path = "model-release") -> str:
        """Run it; what Helm says when it refuses, or ""."""
        given = [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
        given += [] if verb == "rollback" else [str(ROOT / "helm" / chart)]
        done = subprocess.run(
            [self._executable, verb, "r", "--namespace", "default", *given],
            capture_output=True,
            text=True,
            timeout=60,
            env=self._environment,
            check=False,
        )
        return done.stderr if done.returncode else ""

    def objects(self, resource: Resource) -> dict[str, Json]:
        return {one["metadata"]["name"]: one for one in self._cluster.list(resource, "default")}

    def generations(self) -> dict[str, int]:
        """A Deployment's generation grows with every change of its spec: of its pods among them."""
        return {name: one["metadata"]["generation"] for name, one in self.objects(DEPLOYMENTS).items()}

    def images(self) -> dict[str, str]:
        return {
            name: one["spec"]["template"]["spec"]["containers"][0]["image"]
            for name, one in self.objects(DEPLOYMENTS).items()
        }

    def routes(self) -> str:
        return str(self.objects(CONFIG_MAPS)["r-router"]["data"]["routes.json"])


@pytest.fixture
def helm(executable: str, tmp_path: Path) -> Iterator[Releases]:
    with KubernetesApi() as api:
        yield Releases(executable, api, tmp_path)


def test_a_release_from_its_installation_to_a_promotion(helm: Releases) -> None:
    assert helm("install", CHAMPION) == ""
    assert helm.generations() == {"r-v1": 1, "r-router": 1}
    assert helm("upgrade", BOTH) == ""
    assert helm.generations() == {"r-v1": 1, "r-v2": 1, "r-router": 1}
    before = helm.routes()
    for percent in (25, 60, 100):
        assert helm("upgrade", {**BOTH, "trafficPercent": percent}) == ""
        assert helm.routes() != before
        before = helm.routes()
    assert helm.generations() == {"r-v1": 1, "r-v2": 1, "r-router": 1}
    assert helm("upgrade", PROMOTED) == ""
    assert helm.generations() == {"r-v2": 1, "r-router": 1}
    assert set(helm.objects(SERVICES)) >= {"r", "r-v2-pods"}
    assert "r-v1-pods" not in helm.objects(SERVICES)


def test_a_rollback_is_one_step_back(helm: Releases) -> None:
    assert helm("install", BOTH) == ""
    before = helm.routes()
    assert helm("upgrade", SPLIT) == ""
    assert helm.routes() != before
    assert helm("rollback", {}) == ""
    assert helm.routes() == before
    assert helm.generations() == {"r-v1": 1, "r-v2": 1, "r-router": 1}


def test_what_envoy_reads_once_starts_its_pods_anew(helm: Releases) -> None:
    assert helm("install", CHAMPION) == ""
    assert helm("upgrade", {**CHAMPION, "limits.maxBodyBytes": 1048576}) == ""
    assert helm.generations()["r-router"] == 2


def test_a_wrong_value_is_refused_before_anything_is_made(helm: Releases) -> None:
    assert "there is no challenger" in helm("install", {**CHAMPION, "trafficPercent": 5})
    assert helm.objects(DEPLOYMENTS) == {}
    assert helm("install", CHAMPION) == ""
    assert "is another role's too" in helm("upgrade", {**SPLIT, "challenger.version": "1"})
    assert helm.generations() == {"r-v1": 1, "r-router": 1}


def test_the_next_chart_in_the_middle_of_a_canary_changes_images_and_no_shares(helm: Releases, tmp_path: Path) -> None:
    assert helm("install", SPLIT) == ""
    routes, images, services = helm.routes(), helm.images(), helm.objects(SERVICES)
    assert helm("upgrade", SPLIT, bumped("model-release", tmp_path)) == ""
    assert helm.routes() == routes
    # Envoy's image is Envoy's own: the door is not even restarted.
    assert helm.generations() == {"r-v1": 2, "r-v2": 2, "r-router": 1}
    assert {name for name, image in helm.images().items() if NEXT in image} == {"r-v1", "r-v2"}
    assert {name: one["spec"] for name, one in helm.objects(SERVICES).items()} == {
        name: one["spec"] for name, one in services.items()
    }
    for one in helm.objects(DEPLOYMENTS).values():  # the old pods go once the new ones are ready
        assert one["spec"].get("strategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    assert helm("rollback", {}) == ""
    assert helm.images() == images
    assert helm.routes() == routes


def test_the_monitor_is_installed_and_told_of_another_champion(helm: Releases) -> None:
    jobs = Resource("batch", "v1", "cronjobs", "CronJob")
    assert helm("install", WATCHED, "drift-monitor") == ""
    assert helm("upgrade", {**WATCHED, "champion.version": "2"}, "drift-monitor") == ""
    template = helm.objects(jobs)["r"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert "--version=2" in template["containers"][0]["args"]
