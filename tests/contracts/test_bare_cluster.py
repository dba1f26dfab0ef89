"""The contracts over the adapters of a bare cluster, on the node for tests."""

import contextlib
import os
import signal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_pipeline_runners import LocalBench

from trimtab.adapters.cluster import PODS as PODS_RESOURCE
from trimtab.adapters.cluster import Cluster
from trimtab.adapters.pipelines.job import Bounds, JobRunner
from trimtab.adapters.router.envoy_deployment import EnvoyDeployment
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.servers.deployment import DeploymentServers
from trimtab.adapters.sql import ledger_engine
from trimtab.adapters.workloads import Place
from trimtab.loop.home import Home
from trimtab.ports.pipelines import PipelineRunner, RunRequest
from trimtab.ports.router import Routes
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Limits, Serving
from trimtab.testing.envoy_world import EnvoyWorld, Load
from trimtab.testing.kubernetes.node import Node
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.widgets import until
from trimtab.testing.model_servers import ModelServersSuite
from trimtab.testing.pipeline_runners import PipelineRunnerSuite, ended
from trimtab.testing.routers import RouterSuite

IMAGE = "trimtab:test"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"


class Bare:
    """An API server, a node, and a loop's place on it."""

    def __init__(self, folder: Path) -> None:
        self.stack = contextlib.ExitStack()
        self.api = self.stack.enter_context(KubernetesApi())
        root = folder / "volume"
        self.node = Node(self.api, folder / "node", {"claim": root}, images={IMAGE})
        self.stack.enter_context(self.node)
        self.cluster = Cluster.connect(url=self.api.url)
        self.stack.callback(self.cluster.close)
        self.home = Home(root / "default" / "m").make()
        self.place = Place("m", "default", root, self.home.root, "claim", IMAGE, server_image=IMAGE, listen="$(POD_IP)")

    def pods(self) -> list[dict[str, Any]]:
        return self.api.objects(PODS)


class JobBench(LocalBench):
    """The same pipelines, each run in a pod."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.bare = Bare(folder)

    def runner(self) -> JobRunner:  # type: ignore[override]
        store = SqlRuns(ledger_engine(self.bare.home.ledger))
        return JobRunner(self.bare.cluster, self.bare.place, store)

    def cut(self, runner: PipelineRunner, request: RunRequest) -> None:
        """Somebody deletes the Job."""
        runner.start(request)
        until(lambda: bool(list(self.marks.iterdir())), 60)
        (job,) = self.bare.api.objects(JOBS)
        self.bare.api.request("DELETE", f"{JOBS}/{job['metadata']['name']}")

    def close(self) -> None:
        self.bare.stack.close()
        assert not self.bare.node.troubles


@pytest.mark.local
@pytest.mark.slow
class TestJobRunner(PipelineRunnerSuite):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[JobBench]:
        with contextlib.closing(JobBench(tmp_path)) as bench:
            yield bench

    def test_a_killed_pod_is_followed_by_one_that_resumes(self, bench: JobBench) -> None:
        runner = bench.runner()
        runner.start(RunRequest("a", bench.path("gated"), {"x": 4}))
        until(lambda: bool(list(bench.marks.iterdir())), 60)
        (pod,) = bench.bare.node.of("m-run")
        assert pod.process is not None
        pod.process.stop(0)
        assert runner.look("a").state == "RUNNING"  # type: ignore[union-attr]
        bench.open_gate()
        assert dict(ended(runner, "a").output) == {"Output": 8}
        assert len(bench.bare.pods()) == 2

    def test_an_image_that_cannot_be_pulled_is_told_and_given_up(self, bench: JobBench) -> None:
        assert bench.bare.node.images is not None
        bench.bare.node.images = set()
        bounds = Bounds(start_seconds=2)
        runner = JobRunner(bench.bare.cluster, bench.bare.place, bench.runner()._store, bounds)
        runner.start(RunRequest("a", bench.path("double"), {"x": 4}))
        until(lambda: "ImagePullBackOff" in runner.look("a").reason)  # type: ignore[union-attr]
        view = ended(runner, "a")
        assert view.state == "FAILED"
        assert IMAGE in view.reason
        until(lambda: not bench.bare.api.objects(JOBS))
        assert bench.runner().look("a") == view

    def test_a_run_that_dies_too_often_has_failed(self, bench: JobBench) -> None:
        bounds = Bounds(retries=1)
        command = ("python", "-c", "import sys; sys.exit('out of luck')")
        store = bench.runner()._store
        runner = JobRunner(bench.bare.cluster, bench.bare.place, store, bounds, (*command, "--"))
        runner.start(RunRequest("a", bench.path("double"), {"x": 4}))
        view = ended(runner, "a")
        assert view.state == "FAILED"
        assert "out of luck" in view.reason


class WatchedServers(DeploymentServers):
    """Views with process ids, as the suite wants them: the node knows the processes."""

    def __init__(self, bare: Bare) -> None:
        command = ("python", "-m", "trimtab.testing.fake_server")
        super().__init__(bare.cluster, bare.place, Serving(), command=command, drain=timedelta(0), deadline_seconds=20)
        self.bare = bare

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        return {version: self._seen(view) for version, view in super().ensure(wanted).items()}

    def _seen(self, view: ServerView) -> ServerView:
        """Ready only as far as the pod says so too: a Deployment's status is a moment late."""
        if view.state != "ready":
            return view
        labels = f"trimtab.dev/version={view.version}"
        pods = self.bare.cluster.list(PODS_RESOURCE, "default", labels)
        told = [one for pod in pods for one in pod["status"]["containerStatuses"] if one["ready"]]
        if not told:
            return ServerView(view.version, "starting", restarts=view.restarts)
        return replace(view, pid=int(told[0]["containerID"].removeprefix("test://")))

    def close(self) -> None:
        self.remove()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    bare = Bare(tmp_path)
    yield bare
    bare.stack.close()
    assert not bare.node.troubles


@pytest.mark.local
@pytest.mark.slow
class TestDeploymentServers(ModelServersSuite):
    @pytest.fixture
    def servers(self, bare: Bare) -> WatchedServers:
        return WatchedServers(bare)

    def kill(self, servers: WatchedServers, view: ServerView) -> None:
        os.kill(view.pid, signal.SIGKILL)


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

    def test_pods_hear_of_routes_at_once_and_are_waited_for(self, world: BareWorld) -> None:
        routes = Routes(world.server("1"))
        world.router.apply(routes)
        (pod,) = world.bare.pods()
        assert pod["spec"]["containers"][0]["volumeMounts"][-1]["mountPath"] == "/etc/trimtab/router"
        world.router.apply(Routes(world.server("2")))  # within its patience, where the node looks once a minute
        (pod,) = world.bare.pods()
        assert pod["metadata"]["annotations"]["trimtab.dev/config"] == "2-2"
        assert world.router.routed(routes.stable.address)  # type: ignore[arg-type, union-attr]
