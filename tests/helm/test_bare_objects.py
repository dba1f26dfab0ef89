"""What the operator makes on a bare cluster, judged as the chart's objects are: valid, restricted, owned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rendering import invalid, unrestricted

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.pipelines.job import JobRunner
from trimtab.adapters.router.envoy_deployment import EnvoyDeployment
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.collector_deployment import CollectorDeployment
from trimtab.adapters.servers.deployment import DeploymentServers
from trimtab.adapters.workloads import Place, object_name
from trimtab.ports.pipelines import RunRequest
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest
from trimtab.spec.serving import Serving
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.wiring import pipelines_folder

OWNER = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "name": "m", "uid": "u", "controller": True}
KINDS = ("apis/apps/v1", "deployments"), ("apis/batch/v1", "jobs"), ("api/v1", "services"), ("api/v1", "configmaps")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[dict[str, Any]]]:
    """Everything that is made for a loop that trains, serves and releases."""
    with KubernetesApi() as api:
        cluster = Cluster.connect(url=api.url)
        few = {"cpu": "100m", "memory": "256Mi"}
        resources = {role: {"requests": few, "limits": few} for role in ("job", "model", "router", "collector")}
        home = tmp_path / "models" / "m"
        place = Place("m", "default", tmp_path, home, "disk", "i:1", "s:1", resources=resources, owner=OWNER)
        pipeline = str(pipelines_folder() / "monitoring-pipeline.yaml")
        given = {"loop": "{}", "now": "", "predictions": "", "labels": "", "bundle": "b", "digest": "d"}
        JobRunner(cluster, place, MemoryRuns()).start(RunRequest("k", pipeline, {**given, "version": "1"}))
        DeploymentServers(cluster, place, Serving()).ensure([ServerRequest("1", home / "b", "sha256:" + "a" * 64)])
        EnvoyDeployment(cluster, place, Serving()).apply(Routes(Target("1", "10.0.0.1:8080")))
        CollectorDeployment(cluster, place, numbers=True).ensure()
        yield [one for path, kind in KINDS for one in api.objects(f"/{path}/namespaces/default/{kind}")]
        cluster.close()


@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_kubernetes_takes_it(made: list[dict[str, Any]], version: str) -> None:
    assert len(made) == 8
    for one in made:
        assert invalid(one, version) == []


def test_pods_are_restricted_have_bounds_and_no_token(made: list[dict[str, Any]]) -> None:
    pods = [one["spec"]["template"]["spec"] for one in made if one["kind"] in ("Deployment", "Job")]
    assert len(pods) == 4
    for pod in pods:
        assert unrestricted(pod) == []
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["resources"]["requests"]
        mounts = {one["mountPath"] for one in pod["containers"][0]["volumeMounts"] if one["name"] == "home"}
        assert len(mounts) <= 1


def test_runs_go_with_their_loop_and_what_serves_stays(made: list[dict[str, Any]]) -> None:
    owned = [one["kind"] for one in made if one["metadata"].get("ownerReferences")]
    assert owned == ["Job"]


def test_people_and_autoscalers_choose_how_many_serve(made: list[dict[str, Any]]) -> None:
    told = {one["metadata"]["name"]: one["spec"].get("replicas") for one in made if one["kind"] == "Deployment"}
    assert {name: count for name, count in told.items() if count is not None} == {"m-collector": 1}


def test_names_that_are_no_names_of_services_become_some() -> None:
    long = "a" * 63
    names = [object_name(loop, "v1") for loop in ("m", "1m", long, long[:-1] + "b")]
    assert names[0] == "m-v1"
    assert len(set(names)) == 4
    assert all(len(name) <= 52 and name[0].isalpha() for name in names)
