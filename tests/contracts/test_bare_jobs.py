"""The contract of pipeline runners over Jobs, and what only pods do."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from bare_cluster_bench import IMAGE, JOBS, Bare
from test_pipeline_runners import LocalBench

from trimtab.adapters.pipelines.job import Bounds, JobRunner
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.ports.pipelines import PipelineRunner, RunRequest
from trimtab.testing.kubernetes.widgets import until
from trimtab.testing.pipeline_runners import PipelineRunnerSuite, ended


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
