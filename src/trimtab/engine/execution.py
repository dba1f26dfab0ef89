"""The event loop of one run: everything about the run happens in the one thread that calls `Execution.run`."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from trimtab.engine import graph, ir, placeholders
from trimtab.engine.attempts import TaskRun
from trimtab.engine.executor_io import TaskFolder, executor_input
from trimtab.engine.importer import import_artifact
from trimtab.engine.outcome import Done, Outcome
from trimtab.engine.stage import Place, Stage
from trimtab.engine.values import Values
from trimtab.engine.warm import WarmHost
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord

_WORKSPACE = "shared.workspace"  # no task's folder has such a name
Observer = Callable[[TaskRecord], None]


@dataclass(frozen=True)
class Options:
    """How a run is run: tasks at once, whether cached results may be used, who is told of every change of a task.

    `folder` is where tasks begin; default: the folder of this process.
    """

    jobs: int
    cache: bool = True
    observer: Observer | None = None
    folder: Path | None = None


class Execution(Stage):
    """One run of one pipeline. `stop` may be called from any thread or signal handler."""

    def __init__(
        self, pipeline: ir.Pipeline, run: RunRecord, folder: Path, store: RunStore, host: WarmHost, options: Options
    ) -> None:
        self.pipeline, self.record, self.folder = pipeline, run, folder
        self.components = pipeline.components
        named = run.run_id.startswith(pipeline.name)
        self.run_name = run.run_id if named else f"{pipeline.name}-{run.run_id}"
        self.store, self.host, self.options = store, host, options
        self.earlier = {task.path: task for task in store.tasks(run.run_id)}
        self.stop_reason = ""
        self._shelter = True  # exit tasks still run
        self._events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._queue: deque[TaskRun] = deque()
        self._busy: set[TaskRun] = set()
        self._resting: set[TaskRun] = set()
        self._repeats: dict[str, TaskRecord] = {}
        self._pauses: dict[int, tuple[Place, Callable[[], None]]] = {}
        self.attempts: dict[str, int] = {}  # made of each task since this process runs the run
        self._outcome: Outcome | None = None
        self._workspace = str(folder / _WORKSPACE) if pipeline.workspace else ""

    def run(self) -> Outcome:
        """Run the whole graph; returns when its last task has ended. Raises what the store raises."""
        if self._workspace:
            Path(self._workspace).mkdir(exist_ok=True)
        if self.pipeline.deadline_seconds:
            self.after(self.pipeline.deadline_seconds, self._overdue)
        root = Place("", self.folder)
        inputs = Values(dict(self.record.parameters))
        nothing = ir.Task("", "", "root", {}, {}, ())
        try:
            graph.run(self, self.pipeline.root, nothing, root, inputs, self._finish)
            while self._outcome is None:
                self._turn()
        except BaseException:
            for task in self._busy:
                task.kill()
            raise
        return self._outcome

    def stop(self, reason: str, *, exit_tasks: bool) -> None:
        """Cancel what runs and start nothing more, but exit tasks if so wanted; calling it again drops those too."""
        self.post(lambda: self._stop(reason, exit_tasks))

    def post(self, event: Callable[[], None]) -> None:
        """Let the loop's thread do this; safe from any thread and from signal handlers."""
        self._events.put(event)

    def after(self, wait_seconds: float, event: Callable[[], None]) -> None:
        """Let the loop do this later."""
        self._number += 1
        heapq.heappush(self._timers, (time.monotonic() + wait_seconds, self._number, event))

    def save(self, task: TaskRecord) -> None:
        """Write a task as it is now."""
        self.attempts[task.path] = task.attempt
        self.store.save_task(task)
        if self.options.observer is not None:
            self.options.observer(task)

    def ready(self, task: TaskRun) -> None:
        """Queue a task for a free place."""
        self._queue.append(task)
        self._fill()

    def rest(self, task: TaskRun, wait_seconds: float) -> None:
        """Give a task's place back and queue it again later."""
        self._resting.add(task)
        self.free(task)

        def again() -> None:
            if task in self._resting:
                self._resting.discard(task)
                self.ready(task)

        self.after(wait_seconds, again)

    def free(self, task: TaskRun) -> None:
        """Give a task's place back."""
        self._busy.discard(task)
        self._fill()

    def names(self, task: ir.Task, place: Place) -> placeholders.Names:
        """What placeholders mean in this task."""
        run_id = self.record.run_id
        created = self.record.started.astimezone(UTC).isoformat()
        return placeholders.Names(
            self.run_name, run_id, task.name, f"{run_id}/{place.path}", str(self.folder), created, self._workspace
        )

    # What graphs ask of a run.

    def start(self, component: ir.Component, task: ir.Task, place: Place, inputs: Values, done: Done) -> None:
        """Run a container task or an importer."""
        executor = self.pipeline.executors[component.executor]
        if "importer" in executor:
            import_artifact(self, component, task, place, inputs, executor["importer"], done)
        else:
            TaskRun(self, component, task, place, inputs, done).begin()

    def skip(self, place: Place, state: str, reason: str) -> None:
        """Record a task that did not run."""
        now = datetime.now(UTC)
        known: Any = state
        earlier = self.earlier.get(place.path)
        if state == "CANCELLED" and earlier is not None and earlier.state in {"SUCCEEDED", "CACHED"}:
            return  # what an earlier part of this run did stays known
        self.save(TaskRecord(self.record.run_id, place.path, known, started=now, ended=now, exit_reason=reason))

    def pause(self, place: Place, wait_seconds: float, go: Callable[[], None], stop: Callable[[], None]) -> None:
        """Do `go` later, or `stop` at once when the run is stopped."""
        self._number += 1
        number = self._number
        self._pauses[number] = (place, stop)

        def over() -> None:
            if self._pauses.pop(number, None) is not None:
                go()

        self.after(wait_seconds, over)

    def repeated(self, place: Place, state: str, attempt: int, reason: str) -> None:
        """Record an attempt of a pipeline that is used as a component."""
        now, known = datetime.now(UTC), self._repeats.get(place.path)
        record = known or TaskRecord(self.record.run_id, place.path, "RUNNING", started=now)
        ended: Any = {"state": state, "ended": None if state in {"RUNNING", "PENDING"} else now}
        before = self.earlier[place.path].attempt if place.path in self.earlier else 0
        self._repeats[place.path] = replace(record, attempt=before + attempt, exit_reason=reason, **ended)
        self.save(self._repeats[place.path])

    def stopped(self, place: Place) -> bool:
        """Whether nothing more may start there."""
        return bool(self.stop_reason) and not (place.sheltered and self._shelter)

    def constant(self, value: Any, parameters: Mapping[str, Any], artifacts: Values, task: ir.Task) -> Any:
        """A constant with its placeholders replaced."""
        nowhere = TaskFolder(self.folder)
        told = executor_input(
            ir.Component("", ir.Interface(), ir.Interface()), replace(artifacts, parameters=parameters), nowhere
        )
        return placeholders.resolve(value, told, self.names(task, Place(task.name, self.folder)))

    def _turn(self) -> None:
        wait = None if not self._timers else max(0.0, self._timers[0][0] - time.monotonic())
        try:
            event = self._events.get(timeout=wait)
        except Empty:
            event = None
        if event is not None:
            event()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _fill(self) -> None:
        while self._queue and len(self._busy) < self.options.jobs:
            task = self._queue.popleft()
            self._busy.add(task)
            task.attempt()

    def _stop(self, reason: str, exit_tasks: bool) -> None:
        self._shelter = exit_tasks and not self.stop_reason
        self.stop_reason = self.stop_reason or reason
        for task in (*self._queue, *self._resting, *self._busy):
            if self.stopped(task.place):
                self._resting.discard(task)
                task.cancel()
        self._queue = deque(task for task in self._queue if not task.over)
        for number, (place, stop) in list(self._pauses.items()):
            if self.stopped(place) and self._pauses.pop(number, None) is not None:
                stop()

    def _overdue(self) -> None:
        self._stop(f"timed out after {self.pipeline.deadline_seconds:g} s", exit_tasks=True)

    def _finish(self, outcome: Outcome) -> None:
        self._outcome = outcome
