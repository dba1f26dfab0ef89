"""What every PipelineRunner must do. Subclass it with a `bench` fixture that gives a PipelineBench."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import pytest

from trimtab.errors import PipelineRefused
from trimtab.ports.pipelines import PipelineRunner, RunRequest, RunView

_PATIENCE_SECONDS = 60.0


class PipelineBench(Protocol):
    """A runner with three pipelines; each call of one leaves a file in `marks`.

    `double`: parameter `x` (int), output `Output` = 2x. `broken`: fails. `gated`: parameter `x`, ends once
    `open_gate` was called.
    """

    marks: Path

    def runner(self) -> PipelineRunner:
        """A new runner over the same state."""
        ...

    def path(self, name: str) -> str:
        """The file of a pipeline."""
        ...

    def cut(self, runner: PipelineRunner, request: RunRequest) -> None:
        """Start the gated pipeline and end what runs it before it is through."""
        ...

    def open_gate(self) -> None:
        """Let gated pipelines end."""
        ...


def ended(runner: PipelineRunner, key: str) -> RunView:
    """Look until the run is no longer RUNNING."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        view = runner.look(key)
        if view is not None and view.state != "RUNNING":
            return view
        time.sleep(0.01)
    raise AssertionError(f"{key} did not end within {_PATIENCE_SECONDS} s")


class PipelineRunnerSuite:
    """One run a key: started once, resumed after an interruption, never started again after a failure."""

    def test_a_key_that_was_never_started_is_unknown(self, bench: Any) -> None:
        assert bench.runner().look("a") is None

    def test_a_run_ends_with_the_pipelines_outputs(self, bench: Any) -> None:
        runner = bench.runner()
        first = runner.start(RunRequest("a", bench.path("double"), {"x": 21}))
        view = ended(runner, "a")
        assert (view.state, dict(view.output), view.reason) == ("SUCCEEDED", {"Output": 42}, "")
        assert view.key == first.key == "a"
        assert view.run_id == first.run_id != ""

    def test_the_same_key_is_the_same_run_and_runs_once(self, bench: Any) -> None:
        runner = bench.runner()
        runner.start(RunRequest("a", bench.path("double"), {"x": 1}))
        again = runner.start(RunRequest("a", bench.path("double"), {"x": 5}))
        view = ended(runner, "a")
        assert view.run_id == again.run_id
        assert runner.start(RunRequest("a", bench.path("double"), {"x": 7})) == view
        assert dict(view.output) == {"Output": 2}
        assert len(list(bench.marks.iterdir())) == 1

    def test_other_keys_are_other_runs(self, bench: Any) -> None:
        runner = bench.runner()
        for key, number in (("a", 1), ("b", 2), ("A", 3), ("a b", 4), ("a/b", 5), ("../a", 6)):
            runner.start(RunRequest(key, bench.path("double"), {"x": number}))
        found = {key: ended(runner, key) for key in ("a", "b", "A", "a b", "a/b", "../a")}
        assert [view.output["Output"] for view in found.values()] == [2, 4, 6, 8, 10, 12]
        assert len({view.run_id for view in found.values()}) == 6

    def test_a_failed_run_says_why_and_stays_failed(self, bench: Any) -> None:
        runner = bench.runner()
        runner.start(RunRequest("a", bench.path("broken"), {"x": 1}))
        view = ended(runner, "a")
        assert view.state == "FAILED"
        assert "it broke" in view.reason
        assert dict(view.output) == {}
        assert runner.start(RunRequest("a", bench.path("broken"), {"x": 1})).state == "FAILED"
        assert len(list(bench.marks.iterdir())) == 1

    def test_a_refused_pipeline_leaves_no_run(self, bench: Any) -> None:
        runner = bench.runner()
        with pytest.raises(PipelineRefused):
            runner.start(RunRequest("a", bench.path("missing"), {}))
        assert runner.look("a") is None

    def test_an_interrupted_run_is_told_and_taken_up(self, bench: Any) -> None:
        request = RunRequest("a", bench.path("gated"), {"x": 4})
        bench.cut(bench.runner(), request)
        runner = bench.runner()
        view = runner.look("a")
        assert view is not None
        assert view.state == "INTERRUPTED"
        assert view.reason
        bench.open_gate()
        again = runner.start(request)
        assert again.run_id == view.run_id
        assert dict(ended(runner, "a").output) == {"Output": 8}
