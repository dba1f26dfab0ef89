"""Runs and tasks in memory: for tests, and for looking where nothing was ever run."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from trimtab.ports.runs import RunRecord, RunStore, TaskRecord


class MemoryRuns(RunStore):
    """RunStore that forgets everything with its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, RunRecord] = {}
        self._tasks: dict[tuple[str, str], TaskRecord] = {}
        self._saved: dict[tuple[str, str], int] = {}
        self._number = 0

    def save_run(self, run: RunRecord) -> None:
        """Insert or replace the run."""
        with self._lock:
            self._runs[run.run_id] = run

    def save_task(self, task: TaskRecord) -> None:
        """Insert or replace the task."""
        with self._lock:
            self._number += 1
            self._tasks[task.run_id, task.path] = task
            self._saved[task.run_id, task.path] = self._number

    def run(self, run_id: str) -> RunRecord | None:
        """The run, or None."""
        return self._runs.get(run_id)

    def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        """Runs, newest first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: run.started, reverse=True)[:limit]

    def tasks(self, run_id: str) -> Sequence[TaskRecord]:
        """The run's tasks in the order they were first saved."""
        with self._lock:
            return [task for (of, _), task in self._tasks.items() if of == run_id]

    def cached(self, cache_key: str) -> TaskRecord | None:
        """The task that succeeded last with this key."""
        with self._lock:
            found = [
                (self._saved[where], task)
                for where, task in self._tasks.items()
                if task.state == "SUCCEEDED" and task.cache_key == cache_key and cache_key
            ]
        return max(found, key=lambda one: one[0])[1] if found else None
