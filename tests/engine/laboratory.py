"""A way to run a pipeline function and look at what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.engine.execution import Execution, Options
from trimtab.engine.load import load
from trimtab.engine.run import prepare
from trimtab.engine.warm import WarmHost
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord


@dataclass(frozen=True)
class Ran:
    """How a run ended."""

    run: RunRecord
    tasks: Mapping[str, TaskRecord]
    folder: Path

    @property
    def output(self) -> Any:
        assert self.run.state == "SUCCEEDED", self.run.reason
        outputs = self.run.output
        return outputs["Output"] if set(outputs) == {"Output"} else outputs

    def states(self) -> dict[str, str]:
        return {path: task.state for path, task in self.tasks.items()}

    def log(self, path: str) -> str:
        return Path(self.tasks[path].log).read_text()


class Laboratory:
    """Runs pipelines, each run with its own id, all in one store unless told otherwise."""

    def __init__(self, host: WarmHost, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.store: RunStore = MemoryRuns()
        self.runs = folder / "runs"
        self._numbers = itertools.count()

    def compile(self, pipeline: Any) -> Path:
        from kfp import compiler

        path = self.folder / f"{pipeline.name}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path

    def run(
        self,
        pipeline: Any,
        *,
        cache: bool = False,
        jobs: int = 4,
        started: Callable[[Execution], None] | None = None,
        observer: Callable[[TaskRecord], None] | None = None,
        **parameters: Any,
    ) -> Ran:
        path = pipeline if isinstance(pipeline, Path) else self.compile(pipeline)
        run = prepare(self.store, self.runs, f"run-{next(self._numbers)}", load(path), parameters)
        record = run.execute(self.host, Options(jobs, cache, observer), started)
        return self.look(record)

    def look(self, record: RunRecord) -> Ran:
        tasks = {task.path: task for task in self.store.tasks(record.run_id)}
        return Ran(record, tasks, self.runs / record.run_id)
