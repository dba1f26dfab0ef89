"""The engine's record of runs: what ran, on what, with what result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

TaskState = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "SKIPPED", "CACHED", "CANCELLED"]


@dataclass(frozen=True)
class TaskRecord:
    """One task of a run. `path` names it uniquely, loop items included, such as `train/for-loop-1[2]/fit`."""

    run_id: str
    path: str
    state: TaskState
    started: datetime | None = None
    ended: datetime | None = None
    attempt: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""
    exit_reason: str = ""
    cache_key: str = ""


@dataclass(frozen=True)
class RunRecord:
    """One run of a pipeline."""

    run_id: str
    pipeline: str
    state: Literal["RUNNING", "SUCCEEDED", "FAILED", "INTERRUPTED"]
    started: datetime
    ended: datetime | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None
    reason: str = ""
    pid: int = 0


class RunStore(Protocol):
    """Runs and tasks, written as they change."""

    def save_run(self, run: RunRecord) -> None:
        """Insert or replace the run."""
        ...

    def save_task(self, task: TaskRecord) -> None:
        """Insert or replace the task."""
        ...

    def run(self, run_id: str) -> RunRecord | None:
        """The run, or None."""
        ...

    def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        """Runs, newest first."""
        ...

    def tasks(self, run_id: str) -> Sequence[TaskRecord]:
        """The run's tasks in the order they were first saved."""
        ...

    def cached(self, cache_key: str) -> TaskRecord | None:
        """The newest task that succeeded with this key."""
        ...
