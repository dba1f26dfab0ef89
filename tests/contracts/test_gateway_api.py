"""The Gateway API router: what its HTTPRoute means, that the published CRD takes it, what is written when."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from published_crds import HTTP_ROUTES, broken, with_definitions

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.router.abilities import check
from trimtab.adapters.router.gateway_api import SINCE, GatewayApiRouter, abilities
from trimtab.adapters.router.http_route import Place, http_route
from trimtab.adapters.router.metric_sources import SOURCES
from trimtab.adapters.router.prometheus import Evidence, Prometheus
from trimtab.errors import EvidenceMissing, Refused, TrimtabError
from trimtab.ports.router import Routes, Target
from trimtab.spec.release import Release
from trimtab.testing.http_routes import outcome
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.route_table import TABLE, RouteTableSuite

PLACE = Place("rodents", "shop", "rodents", "infra/public/http", ("rodents.example.com",))
PATH = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/rodents"
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def target(version: str) -> Target:
    return Target(version, f"rodents-v{version}.shop.svc.cluster.local:8080")


def nowhere(now: datetime = T0) -> Evidence:
    return Evidence(Prometheus("http://127.0.0.1:1"), SOURCES["servers"], "shop", now=lambda: now)


class GatewayWorld:
    def __init__(self, api: KubernetesApi) -> None:
        self.api = api
        self.cluster = Cluster.connect(url=api.url)
        self.router = GatewayApiRouter(self.cluster, PLACE, nowhere())

    def server(self, version: str) -> Target:
        return target(version)

    def route(self) -> Any:
        return self.api.request("GET", PATH)

    def fate(self, track: str = "") -> tuple[dict[str, float], dict[str, float]]:
        found = outcome(self.route(), "/v1/models/rodents:predict", headers={"x-model-track": track} if track else {})
        names = {f"rodents-v{version}:8080": version for version in ("1", "2")}
        return tuple(
            {names[name]: float(100 * part) for name, part in one.items()} for one in (found.shares, found.copies)
        )  # type: ignore[return-value]


@pytest.fixture
def world() -> Iterator[GatewayWorld]:
    with KubernetesApi() as api:
        world = GatewayWorld(with_definitions(api, HTTP_ROUTES))
        yield world
        world.cluster.close()


class TestRouteTable(RouteTableSuite):
    @pytest.fixture
    def world(self, world: GatewayWorld) -> GatewayWorld:
        return world


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_the_published_crd_takes_every_route(case: Any) -> None:
    routes = case.routes(target("1"), target("2"))
    for feedback in ("", "collector.shop.svc:8000"):
        body = http_route(
            Routes(routes.stable, routes.candidate, routes.candidate_percent, routes.mirror_percent, feedback), PLACE
        )
        assert broken({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", **body}, HTTP_ROUTES) == []


def test_the_crd_would_refuse_a_wrong_route() -> None:
    body = http_route(Routes(target("1")), PLACE)
    body["spec"]["rules"][0]["matches"][0]["path"]["value"] = "no-slash"
    body["spec"]["rules"][0]["backendRefs"][0]["wieght"] = 3
    body["spec"]["rules"][0]["backendRefs"][0]["weight"] = -1
    found = "\n".join(broken({"kind": "HTTPRoute", **body}, HTTP_ROUTES))
    assert "wieght: unknown field" in found
    assert "minimum is 0" in found
    assert "absolute path" in found


def test_labels_go_to_the_collector_and_only_predictions_are_split() -> None:
    route = http_route(Routes(target("1"), target("2"), 50, 0, "collector.shop.svc:8000"), PLACE)
    assert outcome(route, "/v1/feedback").shares == {"collector:8000": 1}
    assert set(outcome(route, "/v2/models/rodents/infer").shares) == {"rodents-v1:8080", "rodents-v2:8080"}
    assert outcome(route, "/v2/health/ready", "GET").shares == {"rodents-v1:8080": 1}
    for path in ("/metrics", "/v2/repository/models/rodents/unload", "/v1/models/other:predict", "/"):
        assert outcome(route, path) == outcome(route, path, "GET") == outcome({"spec": {"rules": []}}, path)


def test_a_client_cannot_call_its_request_a_copy() -> None:
    for rule in http_route(Routes(target("1"), target("2"), 50, 100), PLACE)["spec"]["rules"]:
        modifiers = [one["requestHeaderModifier"] for one in rule["filters"] if one["type"] == "RequestHeaderModifier"]
        assert modifiers == [{"remove": ["x-trimtab-shadow"]}]


@pytest.mark.parametrize("address", ["10.0.0.1:80", "name", "name.ns.example.com:80", ":80", "name:http"])
def test_an_address_that_is_no_service_is_refused(address: str) -> None:
    with pytest.raises(TrimtabError, match=r"NAME.NAMESPACE.svc:PORT"):
        http_route(Routes(Target("1", address)), PLACE)


def test_addresses_of_services_are_named(world: GatewayWorld) -> None:
    for name, ip in (("rodents-v1", "10.0.0.1"), ("rodents-v2", "10.0.0.2"), ("collector", "fd00::3")):
        body = {"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 8080}]}}
        world.api.request("POST", "/api/v1/namespaces/shop/services", body)
    one, two = Target("1", "10.0.0.1:8080"), Target("2", "10.0.0.2:8080")
    world.router.apply(Routes(one, two, 25, 0, "fd00::3:8000"))
    assert world.fate()[0] == {"1": 75, "2": 25}
    assert outcome(world.route(), "/v1/feedback").shares == {"collector:8000": 1}
    with pytest.raises(TrimtabError, match=r"found the address '10\.9\.9\.9:80'"):
        world.router.apply(Routes(Target("1", "10.9.9.9:80")))


def test_nothing_is_written_again_and_a_hand_that_changed_it_is_undone(world: GatewayWorld) -> None:
    routes = Routes(target("1"), target("2"), 25)
    world.router.apply(routes)
    before = world.route()["metadata"]["resourceVersion"]
    world.router.apply(routes)
    GatewayApiRouter(world.cluster, PLACE, nowhere(T0 + timedelta(hours=1))).apply(routes)
    assert world.route()["metadata"]["resourceVersion"] == before
    changed = deepcopy(world.route())
    changed["spec"]["rules"][1]["backendRefs"][0]["weight"] = 0
    world.api.request("PUT", PATH, changed)
    world.router.apply(routes)
    assert world.fate()[0] == {"1": 75, "2": 25}


def test_the_start_of_the_count_outlives_an_operator_but_not_a_day(world: GatewayWorld) -> None:
    world.router.apply(Routes(target("1")))
    assert world.route()["metadata"]["annotations"][SINCE] == T0.isoformat()
    for hours, since in ((2, T0), (24, T0 + timedelta(hours=24))):
        GatewayApiRouter(world.cluster, PLACE, nowhere(T0 + timedelta(hours=hours))).apply(Routes(target("1")))
        assert world.route()["metadata"]["annotations"][SINCE] == since.isoformat()


def test_what_the_gateway_refuses_is_no_evidence(world: GatewayWorld) -> None:
    routes = Routes(target("1"))
    world.router.apply(routes)
    condition = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "message": "no rodents-v1"}
    condition |= {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    reference = {"name": "public", "namespace": "infra"}
    parents = [{"parentRef": reference, "controllerName": "example.com/gateway", "conditions": [condition]}]
    world.api.request("PUT", f"{PATH}/status", {**world.route(), "status": {"parents": parents}})
    world.router.apply(routes)
    with pytest.raises(EvidenceMissing, match="BackendNotFound: no rodents-v1"):
        world.router.traffic()


def test_closing_leaves_the_route(world: GatewayWorld) -> None:
    world.router.apply(Routes(target("1")))
    assert world.router.address == "rodents.example.com:80"
    world.router.close()
    world.router.close()
    assert world.router.address == ""
    assert world.fate()[0] == {"1": 100}


def test_shadow_releases_are_refused_where_copies_cannot_be_told() -> None:
    check(Release(), abilities(marks_copies=True))
    with pytest.raises(Refused, match="DISABLE_SHADOW_HOST_SUFFIX=false"):
        check(Release(), abilities(marks_copies=False))
    check(Release(shadow=False), abilities(marks_copies=False))
