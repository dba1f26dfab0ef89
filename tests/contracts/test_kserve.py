"""KServe's three ways: objects by the published CRD, releases against its controllers as their sources say."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from published_crds import HTTP_ROUTES, INFERENCE_SERVICES, broken, with_definitions

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.kserve import Settings
from trimtab.adapters.router.abilities import check
from trimtab.adapters.router.kserve_knative import ABILITIES as KNATIVE
from trimtab.adapters.router.kserve_knative import KServeKnative
from trimtab.adapters.router.kserve_standard import ABILITIES as STANDARD
from trimtab.adapters.router.kserve_standard import KServeStandard
from trimtab.adapters.router.metric_sources import SOURCES
from trimtab.adapters.router.prometheus import Evidence, Prometheus
from trimtab.adapters.servers.kserve import KServeServers
from trimtab.errors import EvidenceMissing, Refused, TrimtabError
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.release import Release
from trimtab.testing.kserve_controller import REVISION_DEFINITION, KServeController
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.route_table import RouteTableSuite

SETTINGS = Settings(
    "rodents",
    "shop",
    Path("/artifacts"),
    "s3://bucket/artifacts/",
    service_account="models",
    min_replicas=2,
    resources={"requests": {"cpu": "1"}},
)
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/shop/inferenceservices"


def request(version: str) -> ServerRequest:
    return ServerRequest(version, Path("/artifacts/rodents") / version, f"sha256:{version * 8}")


class KServeWorld:
    """The turn's order: servers first, then routes; KServe sees both after each call."""

    def __init__(self, api: KubernetesApi, kind: Any, splits: bool = True) -> None:
        self.api = api
        self.cluster = Cluster.connect(url=api.url)
        now = datetime(2026, 1, 1, tzinfo=UTC)
        nowhere = Evidence(Prometheus("http://127.0.0.1:1"), SOURCES["servers"], "shop", now=lambda: now)
        self.kserve = KServeController(api, "shop", splits)
        self.inner = kind(self.cluster, SETTINGS, nowhere)
        self.router = self
        self.wanted: list[str] = []

    def ensure(self, *versions: str) -> dict[str, ServerView]:
        self.wanted = list(versions)
        self.inner.ensure([request(version) for version in versions])
        self.kserve.reconcile()
        return dict(self.inner.ensure([request(version) for version in versions]))

    def server(self, version: str) -> Target:
        if version not in self.wanted:
            self.ensure(*self.wanted, version)
        return self.target(version)

    def target(self, version: str) -> Target:
        view = self.inner.ensure([request(one) for one in self.wanted])[version]
        assert view.state == "ready", view
        return Target(version, view.address)

    def apply(self, routes: Routes) -> None:
        for _ in range(3):  # as turns come again; more would change nothing
            self.inner.apply(routes)
            self.kserve.reconcile()

    def fate(self, track: str = "") -> tuple[dict[str, float], dict[str, float]]:
        return self.kserve.shares[-1], {}

    def object(self, name: str = "rodents") -> Any:
        found = [one for one in self.api.objects(SERVICES) if one["metadata"]["name"] == name]
        if found:
            assert broken(found[0], INFERENCE_SERVICES) == []
        return found[0] if found else None


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with KubernetesApi() as api:
        with_definitions(api, HTTP_ROUTES, INFERENCE_SERVICES)
        api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", REVISION_DEFINITION)
        yield api


class _Modes(RouteTableSuite):
    cannot = frozenset({"copies", "track", "nobody"})
    kind: Any

    @pytest.fixture
    def world(self, api: KubernetesApi) -> Iterator[KServeWorld]:
        world = KServeWorld(api, self.kind)
        yield world
        world.cluster.close()

    def test_a_life(self, world: KServeWorld) -> None:
        """First version, a canary that is promoted, one that is rolled back, one promoted after that, the way back."""
        assert world.ensure("1")["1"].state == "ready"
        one = world.target("1")
        world.apply(Routes(one))
        two = world.server("2")
        for percent in (0, 5, 50):
            world.apply(Routes(one, two, percent))
        world.ensure("2", "1")
        world.apply(Routes(two))
        world.ensure("2")
        world.ensure("2", "3")
        world.apply(Routes(world.target("2"), world.target("3"), 25))
        world.ensure("2")
        world.apply(Routes(world.target("2")))
        assert world.fate()[0] == {"2": 100}
        world.ensure("2", "4")
        assert world.fate()[0] == {"2": 100}
        world.apply(Routes(world.target("2"), world.target("4"), 25))
        assert world.fate()[0] == {"2": 75, "4": 25}
        world.ensure("4", "2")
        world.apply(Routes(world.target("4")))
        assert world.fate()[0] == {"4": 100}
        world.apply(Routes(world.target("2")))
        assert world.fate()[0] == {"2": 100}
        assert "3" not in world.kserve.shares[-1]
        assert world.kserve.lost == []
        assert world.kserve.restarted == []
        found = [shares.get("3", 0) for shares in world.kserve.shares]
        assert max(found) == 25
        assert world.object() is not None

    def test_a_version_that_is_not_ready_gets_nothing(self, world: KServeWorld) -> None:
        world.kserve.pending.add("2")
        world.ensure("1")
        one = world.target("1")
        world.apply(Routes(one))
        assert world.ensure("1", "2")["2"].state == "starting"
        world.apply(Routes(one, Target("2", "wherever:80"), 50))
        assert world.fate()[0].get("2", 0) == 0

    def test_a_broken_version_fails_in_kubernetes_own_words(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        world.kserve.broken["2"] = "ReplicaSet has timed out progressing"
        view = world.ensure("1", "2")["2"]
        assert (view.state, view.reason) == ("failed", "ReplicaSet has timed out progressing")
        assert world.ensure("1")["1"].state == "ready"

    def test_nothing_is_written_twice_by_this_operator_or_the_next(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        routes = Routes(world.target("1"), world.server("2"), 25)
        world.apply(routes)
        before = world.object()["metadata"]["generation"]
        again = KServeWorld(world.api, self.kind)
        again.kserve = world.kserve
        for one in (world, again):
            one.ensure("1", "2")
            one.apply(routes)
        again.cluster.close()
        assert world.object()["metadata"]["generation"] == before

    def test_closing_leaves_all_and_nobody_wanted_removes_all(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        world.inner.apply(Routes(world.target("1")))
        assert world.inner.address == "rodents-shop.example.com:80"
        world.inner.close()
        world.inner.close()
        assert world.inner.address == ""
        assert world.object() is not None
        world.inner.apply(Routes())
        world.inner.ensure([])
        assert world.object() is None

    def test_shadow_releases_are_refused_at_load(self) -> None:
        abilities = {KServeStandard: STANDARD, KServeKnative: KNATIVE}[self.kind]
        with pytest.raises(Refused, match=r"spec.release.shadow: true .* set spec.release.shadow: false"):
            check(Release(), abilities)
        with pytest.raises(Refused, match="strategy: shadow"):
            check(Release(strategy="shadow"), abilities)
        check(Release(shadow=False), abilities)
        check(Release(shadow=False, strategy="blue-green"), abilities)


class TestStandard(_Modes):
    kind = KServeStandard

    def test_the_version_before_is_dark_until_no_route_sends_to_it(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        world.apply(Routes(world.target("1"), world.server("2"), 50))
        world.inner.apply(Routes(world.target("2")))
        world.inner.ensure([request("2")])  # KServe has seen neither yet
        entries = world.object()["spec"]["canary"]
        assert [(one["predictor"]["name"], one["trafficPercent"]) for one in entries] == [("v1", 0)]
        world.ensure("2")
        assert world.object()["spec"].get("canary", []) == []
        assert world.kserve.lost == []

    def test_a_deployment_that_is_of_the_past_is_not_ready(self, world: KServeWorld) -> None:
        """Its controller has not seen the newest template yet: what is available are pods of the one before."""
        assert world.ensure("1")["1"].state == "ready"
        path = "/apis/apps/v1/namespaces/shop/deployments/rodents-v1-predictor"
        found = deepcopy(world.api.request("GET", path))
        found["spec"]["paused"] = True
        world.api.request("PUT", path, found)
        assert world.inner.ensure([request("1")])["1"].state == "starting"

    def test_the_stable_version_keeps_its_pods_while_others_are_tried(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1"), world.server("2"), 50))
        path = "/apis/apps/v1/namespaces/shop/deployments"
        replicas = {one["metadata"]["name"]: one["spec"]["replicas"] for one in world.api.objects(path)}
        assert replicas == {"rodents-v1-predictor": 2, "rodents-v2-predictor": 2}

    @pytest.mark.parametrize(
        ("splits", "words"), [(False, "sends 0 % to version 2, not 25 %"), (None, "enableGatewayApi")]
    )
    def test_a_kserve_that_splits_nothing_is_found_out(
        self, api: KubernetesApi, splits: bool | None, words: str
    ) -> None:
        world = KServeWorld(api, KServeStandard, splits=bool(splits))
        world.ensure("1")
        world.apply(Routes(world.target("1"), world.server("2"), 25))
        if splits is None:
            api.request("DELETE", "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/rodents")
        with pytest.raises(EvidenceMissing, match=words):
            world.inner.traffic()
        world.cluster.close()

    def test_copies_are_refused_before_anything_is_written(self, world: KServeWorld) -> None:
        with pytest.raises(Refused, match="copy"):
            world.inner.apply(Routes(Target("1", "a:1"), Target("2", "b:1"), 0, 100))
        assert world.object() is None


class TestKnative(_Modes):
    kind = KServeKnative

    def test_a_roll_back_never_sends_more_to_the_bad_version(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        world.apply(Routes(world.target("1"), world.server("2"), 25))
        seen = len(world.kserve.shares)
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        world.kserve.pending.add("3")
        world.ensure("1", "3")
        world.apply(Routes(world.target("1"), Target("3", "x:80"), 25))
        after = world.kserve.shares[seen:]
        assert all(shares.get("2", 0) <= 25 for shares in after)
        assert after[-1] == {"1": 100}  # 25 % for the newest would go to version 2 while 3 is not ready
        world.kserve.pending.clear()
        world.kserve.reconcile()
        world.apply(Routes(world.target("1"), world.target("3"), 25))
        assert world.fate()[0] == {"1": 75, "3": 25}

    def test_a_version_that_is_not_ready_is_not_promoted(self, world: KServeWorld) -> None:
        world.ensure("1")
        world.apply(Routes(world.target("1")))
        world.kserve.pending.add("2")
        world.ensure("1", "2")
        with pytest.raises(TrimtabError, match="not ready yet"):
            world.inner.apply(Routes(Target("2", "x:80")))
        world.kserve.reconcile()
        assert world.fate()[0] == {"1": 100}


def test_one_object_a_version_behind_a_router_of_ours(api: KubernetesApi) -> None:
    cluster = Cluster.connect(url=api.url)
    kserve = KServeController(api, "shop")
    servers = KServeServers(cluster, SETTINGS)
    wanted = [request("1"), request("2")]
    assert {view.state for view in servers.ensure(wanted).values()} == {"starting"}
    kserve.reconcile()
    views = servers.ensure(wanted)
    assert {version: (view.state, view.address) for version, view in views.items()} == {
        "1": ("ready", "rodents-v1-predictor.shop.svc:80"),
        "2": ("ready", "rodents-v2-predictor.shop.svc:80"),
    }
    found = {one["metadata"]["name"]: one for one in api.objects(SERVICES)}
    assert set(found) == {"rodents-v1", "rodents-v2"}
    for one in found.values():
        assert broken(one, INFERENCE_SERVICES) == []
        assert one["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    model = found["rodents-v2"]["spec"]["predictor"]["model"]
    assert model["storageUri"] == "s3://bucket/artifacts/rodents/2"
    assert {"name": "TRIMTAB_DIGEST", "value": "sha256:22222222"} in model["env"]
    writes = [call for call in api.calls if call.verb == "patch"]
    servers.ensure(wanted)
    assert [call for call in api.calls if call.verb == "patch"] == writes
    assert set(servers.ensure([request("2")])) == {"2"}
    assert [one["metadata"]["name"] for one in api.objects(SERVICES)] == ["rodents-v2"]
    servers.close()
    assert api.objects(SERVICES)
    cluster.close()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (ServerRequest("1", Path("/elsewhere/1"), "sha256:1"), "below /artifacts"),
        (ServerRequest("1/../2", Path("/artifacts/1"), "sha256:1"), "part of a name"),
        (ServerRequest("", Path("/artifacts/1"), "sha256:1"), "part of a name"),
    ],
)
def test_what_pods_could_not_find_or_be_called_is_refused(
    api: KubernetesApi, wanted: ServerRequest, words: str
) -> None:
    cluster = Cluster.connect(url=api.url)
    with pytest.raises(TrimtabError, match=words):
        KServeServers(cluster, SETTINGS).ensure([wanted])
    cluster.close()
