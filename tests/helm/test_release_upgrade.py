"""`helm install` and `upgrade` for real, by Helm 3 and by Helm 4 (server-side apply), on the API server for tests.

Helm keeps its releases in a real PostgreSQL: its Secrets are protobuf, which that server does not take.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from monitor_switches import WATCHED
from release_switches import BOTH, CHALLENGER, CHAMPION, SPLIT
from rendering import ROOT

from trimtab.adapters.cluster import CONFIG_MAPS, Cluster, Resource
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.postgres_server import BINARIES, MISSING, PostgresServer

Json = dict[str, Any]
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
_numbers = itertools.count(1)
SERVICES = Resource("", "v1", "services", "Service")
PROMOTED = {key.replace("challenger", "champion"): value for key, value in CHALLENGER.items()}


class Releases:
    """One release and its objects."""

    def __init__(self, executable: str, api: KubernetesApi, database: str, folder: Path) -> None:
        self._executable = executable
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig")),
            "HELM_DRIVER": "sql",
            "HELM_DRIVER_SQL_CONNECTION_STRING": database,
        }
        self._cluster = Cluster.connect(url=api.url)

    def __call__(self, verb: str, values: Json, chart: str = "model-release") -> str:
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

    def routes(self) -> str:
        return str(self.objects(CONFIG_MAPS)["r-router"]["data"]["routes.json"])


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if BINARIES is None:
        pytest.skip(MISSING)
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def helm(executable: str, postgres: PostgresServer, tmp_path: Path) -> Iterator[Releases]:
    name = f"helm{next(_numbers)}"
    postgres.admin(f"CREATE DATABASE {name}")
    place = sa.make_url(postgres.url(name))
    database = place.set(drivername="postgres").update_query_dict({"sslmode": "disable"})
    with KubernetesApi() as api:
        yield Releases(executable, api, database.render_as_string(hide_password=False), tmp_path)


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


def test_the_monitor_is_installed_and_told_of_another_champion(helm: Releases) -> None:
    jobs = Resource("batch", "v1", "cronjobs", "CronJob")
    assert helm("install", WATCHED, "drift-monitor") == ""
    assert helm("upgrade", {**WATCHED, "champion.version": "2"}, "drift-monitor") == ""
    template = helm.objects(jobs)["r"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert "--version=2" in template["containers"][0]["args"]
