"""The PipelineRunner suite over the local engine and the double."""

# ruff: noqa: PTH110, PTH118, PTH123

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl

from trimtab.adapters.pipelines.local import LocalRunner
from trimtab.adapters.pipelines.memory import Interrupted, MemoryRunner
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.ports.pipelines import PipelineRunner, RunRequest
from trimtab.testing.pipeline_runners import PipelineRunnerSuite

IMAGE = "python:3.11"


class MemoryBench:
    def __init__(self, folder: Path) -> None:
        self.marks = folder / "marks"
        self.marks.mkdir()
        self._open = False
        self._runner = MemoryRunner({"double": self._double, "broken": self._broken, "gated": self._gated})

    def runner(self) -> PipelineRunner:
        return self._runner

    def path(self, name: str) -> str:
        return f"{name}.yaml"

    def cut(self, runner: PipelineRunner, request: RunRequest) -> None:
        runner.start(request)

    def open_gate(self) -> None:
        self._open = True

    def _double(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        (self.marks / str(len(list(self.marks.iterdir())))).touch()
        return {"Output": 2 * parameters["x"]}

    def _broken(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._double(parameters)
        raise ValueError("it broke")

    def _gated(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._open:
            raise Interrupted("cut off")
        return self._double(parameters)


class TestMemoryRunner(PipelineRunnerSuite):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> MemoryBench:
        return MemoryBench(tmp_path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def doubled(x: int, marks: str, gate: str, broken: bool) -> int:
    import os
    import time
    import uuid

    open(os.path.join(marks, uuid.uuid4().hex), "w").close()
    give_up = time.monotonic() + 60
    while gate and not os.path.exists(gate) and time.monotonic() < give_up:
        time.sleep(0.01)
    if broken:
        raise ValueError("it broke")
    return 2 * x


class LocalBench:
    def __init__(self, folder: Path) -> None:
        self.marks = folder / "marks"
        self.marks.mkdir()
        self._folder = folder
        self._gate = folder / "gate"
        self._runners: list[LocalRunner] = []
        for name, gate, broken in (("double", "", False), ("broken", "", True), ("gated", str(self._gate), False)):
            self._compile(name, gate, broken)

    def _compile(self, name: str, gate: str, broken: bool) -> None:
        marks = str(self.marks)

        @dsl.pipeline(name=f"{name}-pipeline")
        def pipeline(x: int = 0) -> int:
            done = doubled(x=x, marks=marks, gate=gate, broken=broken)
            done.set_caching_options(False)
            return done.output

        compiler.Compiler().compile(pipeline, self.path(name))

    def runner(self) -> LocalRunner:
        runner = LocalRunner(SqlRuns(ledger_engine(self._folder / "ledger.db")), self._folder / "runs", warm=False)
        self._runners.append(runner)
        return runner

    def path(self, name: str) -> str:
        return str(self._folder / f"{name}.yaml")

    def cut(self, runner: PipelineRunner, request: RunRequest) -> None:
        runner.start(request)
        give_up = time.monotonic() + 60
        while not list(self.marks.iterdir()):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        runner.close()

    def open_gate(self) -> None:
        self._gate.touch()

    def close(self) -> None:
        for runner in self._runners:
            runner.close()


@pytest.mark.local
class TestLocalRunner(PipelineRunnerSuite):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[LocalBench]:
        with contextlib.closing(LocalBench(tmp_path)) as bench:
            yield bench
