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
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.servers.deployment import DeploymentServers
from trimtab.adapters.sql import ledger_engine
from trimtab.adapters.workloads import Place
from trimtab.loop.home import Home
from trimtab.ports.pipelines import PipelineRunner, RunRequest
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Serving
from trimtab.testing.kubernetes.node import Node
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.widgets import until
from trimtab.testing.model_servers import ModelServersSuite
from trimtab.testing.pipeline_runners import PipelineRunnerSuite, ended

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
        self.place = Place(
            "m", "default", root, self.home.root, "claim", IMAGE, server_image=IMAGE, listen="$(POD_IP)"
        )

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
