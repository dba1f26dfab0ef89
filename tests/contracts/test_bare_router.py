"""The contract of routers over our Envoy in pods, and what only pods do."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bare_cluster_bench import Bare

from trimtab.adapters.router.envoy_deployment import EnvoyDeployment
from trimtab.ports.router import Routes
from trimtab.spec.serving import Limits, Serving
from trimtab.testing.envoy_world import EnvoyWorld, Load
from trimtab.testing.kubernetes.widgets import until
from trimtab.testing.routers import RouterSuite


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    bare = Bare(tmp_path)
    yield bare
    bare.stack.close()
    assert not bare.node.troubles


class PatientRouter(EnvoyDeployment):
    """`apply` until all pods have the routes and the door is open, as the suite wants it; `close` shuts it."""

    def apply(self, routes: Routes) -> None:
        def settled() -> bool:
            super(PatientRouter, self).apply(routes)
            return bool(self.address) and not self.pending

        until(settled, 60)


class BareWorld(EnvoyWorld):
    """The suite's world over the node: fake servers of this machine behind the router in a pod."""

    def __init__(self, bare: Bare) -> None:
        limits = Limits(timeout=timedelta(seconds=1), max_body_bytes=100_000)
        self.bare, self.serving = bare, Serving(limits=limits)
        self.router = self.another()  # type: ignore[assignment]
        self.servers, self.targets = {}, {}

    def another(self) -> PatientRouter:
        """The router as another operator sees it."""
        return PatientRouter(self.bare.cluster, self.bare.place, self.serving)


@pytest.fixture
def world(bare: Bare) -> Iterator[BareWorld]:
    world = BareWorld(bare)
    yield world
    world.close()


@pytest.mark.local
@pytest.mark.slow
class TestEnvoyDeployment(RouterSuite):
    """The whole suite; the rest is what only pods do."""

    def test_counts_outlast_the_operator_and_are_never_taken_twice(self, world: BareWorld) -> None:
        routes = Routes(world.server("1"), world.server("2"), 50)
        world.router.apply(routes)
        sent = [world.send(f"a{number}") for number in range(40)]
        before = world.router.traffic()
        assert sum(one.requests for one in before.values()) == len(sent)
        other = world.another()
        other.apply(routes)
        assert other.traffic() == before  # the same pods: nothing is lost, the epoch neither
        (pod,) = world.bare.node.of("m-router")
        assert pod.process is not None
        pod.process.stop(0)
        until(lambda: bool(world.bare.node.of("m-router")) and world.bare.node.of("m-router")[0].ready)
        world.router.apply(routes)
        assert world.router.traffic() == before  # the pod counts from nought, the sum does not
        world.send("b")
        found = world.router.traffic()
        assert sum(one.requests for one in found.values()) == len(sent) + 1
        late = world.another()
        late.apply(routes)
        told = late.traffic()
        assert told == found  # what the dead process had counted was noted

    def test_whoever_does_not_know_the_pods_counts_anew(self, world: BareWorld) -> None:
        routes = Routes(world.server("1"))
        world.router.apply(routes)
        world.send("a")
        epoch = world.router.traffic()["1"].epoch
        (pod,) = world.bare.node.of("m-router")
        assert pod.process is not None
        pod.process.stop(0)
        until(lambda: bool(world.bare.node.of("m-router")) and world.bare.node.of("m-router")[0].ready)
        other = world.another()
        other.apply(routes)
        world.send("b")
        until(lambda: bool(other.traffic()))
        found = other.traffic()["1"]
        assert found.requests <= 1
        assert found.epoch != epoch

    def test_a_change_of_routes_costs_no_request(self, world: BareWorld) -> None:
        first, second = world.server("1"), world.server("2")
        world.router.apply(Routes(first))
        with Load(world.router.address, 2) as load:
            for routes in (Routes(first, second, 0, 100), Routes(first, second, 50), Routes(second), Routes(first)):
                load.await_more(50)
                world.router.apply(routes)
            load.await_more(50)
        assert not load.lost
        assert load.answers["2"] > 20

    def test_other_limits_make_other_pods_and_cost_no_request(self, world: BareWorld) -> None:
        routes = Routes(world.server("1"))
        world.router.apply(routes)
        (old,) = world.bare.node.of("m-router")
        limits = Limits(timeout=timedelta(seconds=2), max_body_bytes=50_000)
        edited = PatientRouter(world.bare.cluster, world.bare.place, Serving(limits=limits))
        with Load(world.router.address, 2) as load:
            load.await_more(50)
            edited.apply(routes)
            until(lambda: old.process is None or not old.process.alive, 60)
            edited.apply(routes)
            load.await_more(50)
        assert not load.lost
        assert "50000" in world.bare.pods()[0]["spec"]["containers"][0]["args"]

    def test_files_that_somebody_broke_or_deleted_are_written_anew(self, world: BareWorld) -> None:
        first, second = world.server("1"), world.server("2")
        world.router.apply(Routes(first))
        path = "/api/v1/namespaces/default/configmaps/m-router"
        broken = {"data": {"clusters.json": "{"}, "metadata": {"annotations": {"trimtab.dev/router": "no"}}}
        world.bare.api.request("PATCH", path, broken, "application/merge-patch+json")
        world.router.apply(Routes(second))
        assert world.send("a") == "2"
        world.bare.api.request("DELETE", path)
        world.router.apply(Routes(first))
        assert world.send("b") == "1"

    def test_pods_hear_of_routes_at_once_and_are_waited_for(self, world: BareWorld) -> None:
        routes = Routes(world.server("1"))
        world.router.apply(routes)
        (pod,) = world.bare.pods()
        assert pod["spec"]["containers"][0]["volumeMounts"][-1]["mountPath"] == "/etc/trimtab/router"
        world.router.apply(Routes(world.server("2")))  # within its patience, where the node looks once a minute
        (pod,) = world.bare.pods()
        told = pod["metadata"]["annotations"]["trimtab.dev/config"].split("-")
        found = world.bare.api.request("GET", "/api/v1/namespaces/default/configmaps/m-router")["data"]
        assert [json.loads(found[name])["version_info"] for name in ("clusters.json", "routes.json")] == told
        assert world.router.routed(routes.stable.address)  # type: ignore[arg-type, union-attr]
