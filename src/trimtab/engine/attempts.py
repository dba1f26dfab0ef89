"""One task of a run that runs a component's code: reuse, cache, attempts with back-off, time-out, outputs."""

from __future__ import annotations

import errno
import shutil
import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.engine import cache, ir, placeholders
from trimtab.engine.executor_io import BadOutputError, TaskFolder, executor_input, read_outputs
from trimtab.engine.executors import python_program
from trimtab.engine.exits import reason_of
from trimtab.engine.outcome import CANCELLED, Done, Outcome
from trimtab.engine.preload import modules_of
from trimtab.engine.values import Values
from trimtab.engine.warm import Ended, Job
from trimtab.errors import StorageFull
from trimtab.ports.runs import TaskRecord

if TYPE_CHECKING:
    from trimtab.engine.execution import Execution
    from trimtab.engine.stage import Place

GRACE_SECONDS = 2.0  # between SIGTERM and SIGKILL
MOST_LOST = 3  # attempts that ended with the host and not by themselves are made again this often


class TaskRun:
    """All attempts of one task."""

    def __init__(
        self, run: Execution, component: ir.Component, task: ir.Task, place: Place, inputs: Values, done: Done
    ) -> None:
        self.place, self.over = place, False
        self._run, self._component, self._task = run, component, task
        self._inputs, self._done = inputs, done
        self._folder = TaskFolder(place.folder)
        self._program = python_program(run.pipeline.executors[component.executor]["container"])
        platform = run.pipeline.platform.get(component.executor, {})
        self._timeout = float(platform.get("activeDeadlineSeconds", 0))
        self._job = ""
        self._timed_out = self._cancelled = False
        self._lost = 0
        told = inputs.to_json(component.inputs)
        self._record = TaskRecord(run.record.run_id, place.path, "PENDING", inputs=told)

    def begin(self) -> None:
        """Take an earlier result, or queue for a place."""
        earlier = self._run.earlier.get(self.place.path)
        if earlier is not None:
            found = cache.reusable(earlier, self._component, self._record.inputs)
            if found is not None:
                self._over(Outcome("SUCCEEDED", found))
                return
            self._record = _with(self._record, attempt=earlier.attempt)
        made = self._run.attempts.get(self.place.path, 0)  # by an earlier attempt of the pipeline around it
        self._record = _with(self._record, attempt=max(made, self._record.attempt))
        self._first = self._record.attempt
        key = cache.key(self._run.pipeline, self._component, self._task, self._inputs) if self._task.cached else ""
        self._record = _with(self._record, cache_key=key)
        if key and self._run.options.cache and self._from_cache(key):
            return
        self._run.ready(self)

    def attempt(self) -> None:
        """Start the next attempt in a child of the warm host."""
        now = datetime.now(UTC)
        started = self._record.started or now
        self._timed_out = False
        self._record = _with(
            self._record, state="RUNNING", started=started, attempt=self._record.attempt + 1, log=str(self._folder.log)
        )
        try:
            job = self._prepare()
        except placeholders.PlaceholderError as error:
            self._ended_with(str(error))
            return
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StorageFull(f"no room for {self._folder.root}: free some and resume the run") from error
            self._ended_with(f"cannot write its folder: {error}")
            return
        number = self._record.attempt
        self._job = self._run.host.run(job, lambda ended: self._run.post(lambda: self._ended(number, ended)))
        self._run.save(self._record)  # while the child starts
        if self._timeout:
            self._run.after(self._timeout, lambda: self._overdue(number))

    def cancel(self) -> None:
        """End it: the one that waits at once, the one that runs in order."""
        self._cancelled = True
        if self._job:
            self._terminate()
        elif not self.over:
            self._close("CANCELLED", CANCELLED.reason)
            self._over(CANCELLED)

    def kill(self) -> None:
        """End its process now; nobody waits for it any more."""
        if self._job:
            self._run.host.signal(self._job, signal.SIGKILL)

    def _from_cache(self, key: str) -> bool:
        found = cache.lookup(self._run.store, key, self._component)
        if found is None:
            return False
        values, earlier = found
        now = datetime.now(UTC)
        told = values.to_json(self._component.outputs)
        reason = f"same inputs as in {earlier.run_id}"
        self._record = _with(
            self._record, state="CACHED", started=now, ended=now, outputs=told, log=earlier.log, exit_reason=reason
        )
        self._run.save(self._record)
        self._over(Outcome("SUCCEEDED", values))
        return True

    def _prepare(self) -> Job:
        folder = self._folder
        for part in (folder.artifacts, folder.written, folder.program):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        (folder.written / "parameters").mkdir()
        program = folder.program / "ephemeral_component.py"
        if self._record.attempt > 1:
            with folder.log.open("a") as log:
                log.write(f"\n--- attempt {self._record.attempt}\n")
        told = executor_input(self._component, self._inputs, folder)
        names = self._run.names(self._task, self.place)
        arguments = [placeholders.resolve(text, told, names) for text in self._program.arguments]
        environment = {
            name: placeholders.resolve(text, told, names) for name, text in self._program.environment.items()
        }
        preload, where = modules_of(self._program.source), self._run.options.folder or Path.cwd()
        return Job(program, self._program.source, tuple(arguments), environment, folder.log, where, preload)

    def _overdue(self, number: int) -> None:
        if self._job and self._record.attempt == number:
            self._timed_out = True
            self._terminate()

    def _terminate(self) -> None:
        job = self._job
        self._run.host.signal(job, signal.SIGTERM)

        def insist() -> None:
            if self._job == job:
                self._run.host.signal(job, signal.SIGKILL)

        self._run.after(GRACE_SECONDS, insist)

    def _ended(self, number: int, ended: Ended) -> None:
        if not self._job or self._record.attempt != number:
            return
        self._job = ""
        if self._timed_out:
            self._ended_with(f"timed out after {self._timeout:g} s")
        elif ended.well:
            self._succeeded()
        elif ended.lost and self._lost < MOST_LOST and not self._cancelled and not self._run.stopped(self.place):
            self._lost += 1
            self._again(reason_of(ended, self._folder.log), 0.0)
        else:
            self._ended_with(reason_of(ended, self._folder.log))

    def _again(self, reason: str, wait: float) -> None:
        self._record = _with(self._record, state="PENDING", exit_reason=f"{reason}; tried again after {wait:g} s")
        self._run.save(self._record)
        self._run.rest(self, wait)

    def _succeeded(self) -> None:
        try:
            values = read_outputs(self._component, self._folder)
        except (BadOutputError, OSError) as error:
            self._ended_with(str(error))
            return
        self._close("SUCCEEDED", "", values.to_json(self._component.outputs))
        self._over(Outcome("SUCCEEDED", values))

    def _ended_with(self, reason: str) -> None:
        self._job = ""
        retry = self._task.retry
        tried = self._record.attempt - self._first - self._lost
        if self._cancelled:
            self._close("CANCELLED", CANCELLED.reason)
            self._over(CANCELLED)
        elif retry is not None and tried <= retry.count and not self._run.stopped(self.place):
            self._again(reason, retry.wait_before(tried + 1))
        else:
            self._close("FAILED", reason)
            self._over(Outcome("FAILED", reason=f"task {self.place.path}: {reason}"))

    def _close(self, state: str, reason: str, outputs: Mapping[str, Any] | None = None) -> None:
        self._record = _with(
            self._record, state=state, ended=datetime.now(UTC), exit_reason=reason, outputs=outputs or {}
        )
        self._run.save(self._record)

    def _over(self, outcome: Outcome) -> None:
        if not self.over:
            self.over = True
            self._done(outcome)
            self._run.free(self)


def _with(record: TaskRecord, **changes: Any) -> TaskRecord:
    from dataclasses import replace

    return replace(record, **changes)
