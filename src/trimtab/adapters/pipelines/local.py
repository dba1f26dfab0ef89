"""Compiled pipelines on this machine: the engine in a thread, tasks in children of one warm host."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from trimtab.engine.execution import Execution, Observer, Options
from trimtab.engine.load import load
from trimtab.engine.naming import run_id as id_of
from trimtab.engine.run import Run, can_resume, default_jobs, is_held, prepare, resume
from trimtab.engine.warm import WarmHost
from trimtab.errors import AlreadyRunning, TrimtabError
from trimtab.ports.pipelines import PipelineRunner, RunRequest, RunView
from trimtab.ports.runs import RunRecord, RunStore

_CLOSED = "the runner was closed"


class LocalRunner(PipelineRunner):
    """Runs in threads of this process; what they did is in the store, so that a later process can go on."""

    def __init__(
        self,
        store: RunStore,
        folder: Path,
        jobs: int | None = None,
        warm: bool = True,
        observer: Observer | None = None,
        begin_in: Path | None = None,
    ) -> None:
        """Runs live in `folder`; at most `jobs` tasks a run at once; `warm` starts the host now and not with a task.

        `observer` is told of every change of a task, in the thread of its run. Tasks begin in the folder `begin_in`;
        default: that of this process.
        """
        self._store, self._folder = store, folder
        self._options = Options(jobs or default_jobs(), observer=observer, folder=begin_in)
        self._host = WarmHost(folder / "host.log")
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}
        self._executions: dict[str, Execution] = {}
        self._errors: dict[str, str] = {}
        self._closed = False
        if warm:
            self._host.warm()

    def start(self, request: RunRequest) -> RunView:
        """Start the run, resume it after an interruption, or return it as it stands. Raises PipelineRefused."""
        run_id = id_of(request.key)
        with self._lock:
            if self._closed:
                raise TrimtabError(f"{_CLOSED}: make another one")
            known = self._look(request.key, run_id)
            if known is not None and known.state != "INTERRUPTED":
                return known
            try:
                if known is None or not can_resume(self._folder, run_id):
                    run = prepare(self._store, self._folder, run_id, load(Path(request.pipeline)), request.parameters)
                else:
                    run = resume(self._store, self._folder, run_id)
            except AlreadyRunning:  # by another process
                return RunView(request.key, run_id, "RUNNING")
            self._errors.pop(run_id, None)
            thread = threading.Thread(target=self._execute, args=(run,), name=f"run-{run_id}", daemon=True)
            self._running[run_id] = thread
            thread.start()
        return RunView(request.key, run_id, "RUNNING")

    def look(self, key: str) -> RunView | None:
        """How the run of this key stands; None if there never was one."""
        with self._lock:
            return self._look(key, id_of(key))

    def close(self) -> None:
        """End every task and the host; runs that were under way can be resumed."""
        with self._lock:
            self._closed = True
            executions, threads = list(self._executions.values()), list(self._running.values())
        for execution in executions:
            execution.stop(_CLOSED, exit_tasks=False)
        for thread in threads:
            thread.join(10)
        self._host.close()

    def _look(self, key: str, run_id: str) -> RunView | None:
        record = self._store.run(run_id)
        if record is None:
            return None
        if record.state != "RUNNING":
            return _view(key, record)
        if run_id in self._running or is_held(self._folder, run_id):
            return RunView(key, run_id, "RUNNING")
        record = self._store.run(run_id) or record  # it may have ended between the two looks
        if record.state != "RUNNING":
            return _view(key, record)
        reason = self._errors.get(run_id, "the process that ran it died")
        return RunView(key, run_id, "INTERRUPTED", reason=reason)

    def _execute(self, run: Run) -> None:
        run_id = run.record.run_id
        try:
            run.execute(self._host, self._options, lambda execution: self._started(run_id, execution))
        except TrimtabError as error:
            self._errors[run_id] = str(error)
        except Exception as error:  # noqa: BLE001 - a thread has nobody above it; resuming would only repeat this
            self._failed(run, f"the engine failed: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._running.pop(run_id, None)
                self._executions.pop(run_id, None)

    def _failed(self, run: Run, reason: str) -> None:
        try:
            self._store.save_run(replace(run.record, state="FAILED", ended=datetime.now(UTC), reason=reason))
        except TrimtabError as error:
            self._errors[run.record.run_id] = f"{reason}; {error}"

    def _started(self, run_id: str, execution: Execution) -> None:
        with self._lock:
            self._executions[run_id] = execution
            closed = self._closed
        if closed:
            with contextlib.suppress(TrimtabError):
                execution.stop(_CLOSED, exit_tasks=False)


def _view(key: str, record: RunRecord) -> RunView:
    return RunView(key, record.run_id, record.state, output=dict(record.output or {}), reason=record.reason)
