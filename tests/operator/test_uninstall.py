"""`trimtab cluster uninstall` leaves nothing of what the chart and the real adapters made, and all that is others'."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from installed_chart import install
from operator_product import SPEC
from test_cluster_commands import cluster as command

from trimtab.adapters.cluster import MODEL_LOOPS, Cluster
from trimtab.adapters.kserve import Settings
from trimtab.adapters.pipelines.job import JobRunner
from trimtab.adapters.router.envoy_deployment import EnvoyDeployment
from trimtab.adapters.router.gateway_api import GatewayApiRouter
from trimtab.adapters.router.http_route import Place as RoutePlace
from trimtab.adapters.router.kserve_standard import KServeStandard
from trimtab.adapters.router.metric_sources import SOURCES
from trimtab.adapters.router.prometheus import Evidence, Prometheus
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.collector_deployment import CollectorDeployment
from trimtab.adapters.servers.deployment import DeploymentServers
from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.adapters.workloads import Place
from trimtab.cli.made import KINDS
from trimtab.loop.home import Home
from trimtab.ports.pipelines import RunRequest
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest
from trimtab.ports.turns import Turn
from trimtab.spec.serving import Serving
from trimtab.testing.kubernetes.server import KubernetesApi

sys.path[:0] = [str(Path(__file__).parents[1] / "contracts")]

from published_crds import HTTP_ROUTES, INFERENCE_SERVICES, with_definitions  # noqa: E402

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PIPELINE = Path(__file__).parents[2] / "pipelines/training-pipeline.yaml"


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with KubernetesApi() as server:
        with_definitions(server, HTTP_ROUTES, INFERENCE_SERVICES)
        for name in ("more", "theirs"):
            server.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        yield server


def everything(api: KubernetesApi, namespace: str = "") -> set[str]:
    """KIND NAMESPACE/NAME of all there is, without namespaces and kinds."""
    found = set()
    for kind in api.store.kinds:
        for one in api.store.all(kind, ""):
            if kind.kind not in ("Namespace", "CustomResourceDefinition", "Event"):
                space = one["metadata"].get("namespace", "")
                found.add(f"{kind.kind} {space}/{one['metadata']['name']}")
    return {one for one in found if not namespace or f" {namespace}/" in one}


def live(api: KubernetesApi, folder: Path, namespace: str, loop: str = "m") -> None:
    """What an operator leaves that was killed while it released, on every platform at once, by the adapters."""
    cluster = Cluster.connect(url=api.url)
    body = {"metadata": {"name": loop, "finalizers": ["trimtab.dev/operator"]}, "spec": SPEC}
    cluster.create(MODEL_LOOPS, namespace, body)
    home = Home(folder / "volume" / namespace / loop).make()
    place = Place(loop, namespace, folder / "volume", home.root, "claim", "image:1", server_image="server:1")
    turns = ConfigMapTurns(cluster, namespace, loop)
    turns.commit(Turn(1, T0, {}, {}, []))
    turns.wish(T0, "retrain", {})
    wanted = [ServerRequest(one, home.artifacts / one, f"sha256:{one * 8}") for one in ("1", "2")]
    DeploymentServers(cluster, place, Serving()).ensure(wanted)
    routes = Routes(Target("1", f"{loop}-v1.{namespace}.svc:8080"), Target("2", f"{loop}-v2.{namespace}.svc:8080"), 10)
    EnvoyDeployment(cluster, place, Serving(), patience_seconds=0).apply(routes)
    CollectorDeployment(cluster, place).ensure()
    JobRunner(cluster, place, MemoryRuns()).start(RunRequest("training:1", PIPELINE, {"loop": "{}"}))
    nowhere = Evidence(Prometheus("http://127.0.0.1:1"), SOURCES["servers"], namespace, now=lambda: T0)
    GatewayApiRouter(cluster, RoutePlace(loop, namespace, loop, "infra/public"), nowhere).apply(routes)
    settings = Settings(loop, namespace, home.artifacts, "s3://bucket/")
    KServeStandard(cluster, settings, nowhere).ensure(wanted[:1])
    cluster.close()


def uninstall(api: KubernetesApi, folder: Path, *words: str) -> str:
    ended = command(api, folder, "uninstall", "--yes", *words, namespace="models")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_nothing_is_left_of_what_the_adapters_and_the_chart_made(api: KubernetesApi, tmp_path: Path) -> None:
    install(api, ready=0, operator__namespaces=["models", "more"], volume__shared=True, rbac__aggregate=True)
    others = {"metadata": {"name": "other"}}
    api.request("POST", "/api/v1/namespaces/models/configmaps", others)
    for namespace in ("models", "more"):
        live(api, tmp_path, namespace)
    there = everything(api)
    kinds = {one.split()[0] for one in there}
    assert {"HTTPRoute", "InferenceService", "Job", "Role", "RoleBinding", "ClusterRole", "NetworkPolicy"} <= kinds
    assert "ConfigMap models/m-turns" in there
    assert "RoleBinding more/r-trimtab" in there
    told = uninstall(api, tmp_path)
    assert "removed RoleBinding r-trimtab in more" in told
    assert everything(api) == {"ConfigMap models/other"}
    assert "modelloops.trimtab.dev" not in str(api.objects("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))
    assert uninstall(api, tmp_path) == "nothing of trimtab is in namespace models\n"


def test_a_plan_names_whatever_is_removed(api: KubernetesApi, tmp_path: Path) -> None:
    install(api, ready=0, operator__namespaces=["models", "more"], volume__shared=True)
    live(api, tmp_path, "more")
    asked = command(api, tmp_path, "uninstall", namespace="models")  # nobody answers the question
    assert asked.returncode == 1
    there = everything(api)
    unsaid = [
        one
        for one in there
        if f"  {one.replace(' models/', ' ').replace(' more/', ' ')}" not in asked.stdout and "Secret" not in one
    ]
    assert unsaid == []
    assert "ModelLoop m in more and what serves for it" in asked.stdout


def test_what_another_installation_made_is_left_alone(api: KubernetesApi, tmp_path: Path) -> None:
    """Of the same name, in a namespace of its own, with a loop that has the same name too."""
    install(api, ready=0, rbac__aggregate=True)
    live(api, tmp_path, "models")
    live(api, tmp_path, "theirs")
    labels = {"app.kubernetes.io/part-of": "trimtab", "app.kubernetes.io/instance": "r"}
    notes = {"meta.helm.sh/release-namespace": "theirs"}
    meta = {"name": "r-trimtab-theirs", "labels": labels, "annotations": notes}
    api.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": meta})
    before = everything(api, "theirs")
    told = uninstall(api, tmp_path)
    assert "the definition of ModelLoop stays" in told
    assert everything(api) == before | {"ClusterRole /r-trimtab-theirs"}


def test_data_stay_if_so_wanted(api: KubernetesApi, tmp_path: Path) -> None:
    install(api, ready=0)
    uninstall(api, tmp_path, "--keep-data")
    assert everything(api) == {"PersistentVolumeClaim models/r-trimtab"}


def test_every_kind_that_an_adapter_can_make_is_looked_for() -> None:
    rules = (Path(__file__).parents[2] / "helm/trimtab/templates/_rules.tpl").read_text()
    created: set[Any] = set()
    for block in rules.split("- apiGroups:")[1:]:
        if "create" in block.split("verbs:")[1].split("]")[0]:
            created |= set(block.split("resources: [")[1].split("]")[0].split(", "))
    assert created - {one.plural for one in KINDS} == {"events"}
