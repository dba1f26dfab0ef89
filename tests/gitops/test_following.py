"""With gitops the operator's world only looks at the cluster, and takes its credentials by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from life import document

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.router.following import FollowingRouter
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.following import FollowingServers
from trimtab.adapters.servers.memory import MemoryServers, MemoryService
from trimtab.cli.opening import opened
from trimtab.errors import EvidenceMissing, Refused, TrimtabError
from trimtab.loop.turn import Loop
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.operator.following import FollowingSettings, from_environment, with_gitops
from trimtab.ports.delivery import Served, Wanted, Why
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest
from trimtab.testing.git_places import Place
from trimtab.testing.kubernetes.server import KubernetesApi

ABOUT = LoopObject("default", "orders", "uid")
ONE = ServerRequest("1", Path("/models/1"), "sha256:1")


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with KubernetesApi() as made:
        yield made


@pytest.fixture
def cluster(api: KubernetesApi) -> Iterator[Cluster]:
    made = Cluster.connect(url=api.url)
    yield made
    made.close()


def _base(root: Path) -> Any:
    def worlds(*_: Any) -> World:
        nothing: Any = None
        return World(
            turns=nothing, runs=MemoryRuns(), runner=nothing, servers=MemoryServers(), router=nothing,
            collector=MemoryService(), registry=nothing, predictions=nothing, labels=nothing,
            training_pipeline=root, monitoring_pipeline=root, predictions_folder=root, labels_folder=root,
            tracking_uri="", artifact_root=root, document_text="{}",
        )  # fmt: skip

    return worlds


def _deployment(api: KubernetesApi, name: str, digest: str = "sha256:1", ready: int = 1) -> None:
    labels = {"trimtab.dev/version": "1"}
    container = {"name": "server", "image": "i", "env": [{"name": "TRIMTAB_DIGEST", "value": digest}]}
    body = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    api.request("POST", path, body)
    status = {"status": {"readyReplicas": ready, "observedGeneration": 1}}
    api.request("PATCH", f"{path}/{name}/status", status, "application/merge-patch+json")


@pytest.mark.parametrize("name", ["orders-v1", "orders-v1-predictor"])
def test_servers_are_looked_at_and_never_changed(api: KubernetesApi, cluster: Cluster, name: str) -> None:
    servers = FollowingServers(cluster, "default", "orders")
    assert servers.ensure([ONE])["1"].state == "starting"
    assert "has not followed" in servers.ensure([ONE])["1"].reason
    _deployment(api, name)
    view = servers.ensure([ONE])["1"]
    assert (view.state, view.address) == ("ready", "orders-v1.default.svc:8080")
    calls = len(api.objects("/apis/apps/v1/namespaces/default/deployments"))
    assert servers.ensure([]) == {}
    servers.close()
    assert len(api.objects("/apis/apps/v1/namespaces/default/deployments")) == calls == 1


def test_another_model_under_the_same_version_is_not_ready(api: KubernetesApi, cluster: Cluster) -> None:
    _deployment(api, "orders-v1", digest="sha256:other")
    view = FollowingServers(cluster, "default", "orders").ensure([ONE])["1"]
    assert view.state == "starting"
    assert "sha256:other" in view.reason


def test_without_a_prometheus_a_release_is_blind() -> None:
    router = FollowingRouter("orders", "orders:80", None)
    assert router.traffic() == {}
    router.apply(Routes(Target("1", "a:1")))
    with pytest.raises(EvidenceMissing, match="TRIMTAB_PROMETHEUS_URL"):
        router.traffic()


def test_the_world_of_a_loop_with_gitops_delivers_and_only_looks(
    place: Place, cluster: Cluster, tmp_path: Path
) -> None:
    settings = from_environment(
        {"TRIMTAB_GIT_CACHE": str(tmp_path / "c"), "TRIMTAB_CLAIM": "claim", "TRIMTAB_VOLUME": str(tmp_path)}
    )
    worlds = with_gitops(_base(tmp_path), cluster, settings)
    world = worlds(document(place.url), ABOUT)
    assert isinstance(world.servers, FollowingServers)
    assert isinstance(world.router, FollowingRouter)
    assert world.delivery is not None
    world.delivery.deliver(Wanted(Served("1", "sha256:1", tmp_path / "orders" / "1")), "", Why())
    assert "uri: pvc://claim/orders/1" in place.read("releases/orders/release.yaml")
    with pytest.raises(TrimtabError, match="is not below"):
        world.delivery.deliver(Wanted(Served("1", "sha256:1", Path("/elsewhere"))), "", Why())
    direct = document(place.url, delivery="direct", gitops=None)
    assert isinstance(worlds(direct, ABOUT).servers, MemoryServers)


def test_what_is_missing_is_refused_by_name(place: Place, cluster: Cluster, tmp_path: Path) -> None:
    def made(uri: str = "s3://m", **gitops: str) -> World:
        settings = FollowingSettings(tmp_path / "secrets", tmp_path / "cache", storage_uri=uri)
        section = {"repository": "https://git.example/acme/r", **gitops}
        return with_gitops(_base(tmp_path), cluster, settings)(document(place.url, gitops=section), ABOUT)

    with pytest.raises(Refused, match="TRIMTAB_STORAGE_URI"):
        made("")
    with pytest.raises(Refused, match="mount one there"):
        made(secret="releases")
    secret = tmp_path / "secrets" / "releases"
    secret.mkdir(parents=True)
    (secret / "url").write_text("https://git.example/other")
    with pytest.raises(Refused, match="name another `secret`"):
        made(secret="releases", provider="github")
    (secret / "url").write_text("https://git.example/acme")
    for provider in ("plain", "github", "gitlab"):
        assert made(secret="releases", provider=provider).delivery is not None
    with pytest.raises(Refused, match="TRIMTAB_METRICS"):
        with_gitops(_base(tmp_path), cluster, FollowingSettings(source="x"))(document(place.url), ABOUT)


def test_where_nothing_delivers_a_loop_with_gitops_does_not_start(place: Place, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing here hands releases over"):
        Loop(document(place.url), _base(tmp_path)())


def test_on_one_machine_the_same_document_is_delivered_directly(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(document(place.url).model_dump_json(by_alias=True, exclude_none=True))
    release = opened(path, None).document.spec.release
    assert (release.delivery, release.gitops) == ("direct", None)
