"""Run a pipeline, or take an interrupted run up again."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from trimtab.engine import parameters
from trimtab.engine.execution import Execution, Options
from trimtab.engine.importer import refuse_missing, refuse_remote
from trimtab.engine.load import Loaded, load
from trimtab.engine.naming import segment
from trimtab.engine.outcome import Outcome
from trimtab.engine.values import Values
from trimtab.engine.warm import WarmHost
from trimtab.errors import AlreadyRunning, PipelineRefused, StorageFull
from trimtab.ports.runs import RunRecord, RunStore

_LOCK, _PIPELINE = "run.lock", "pipeline.yaml"  # no task's folder has such a name


def default_jobs() -> int:
    """Tasks at once: the processors, and at least four, as tasks that wait for something use none."""
    return max(4, len(os.sched_getaffinity(0)))


def folder_of(runs: Path, run_id: str) -> Path:
    """The folder of a run."""
    return runs / segment(run_id)


def is_held(runs: Path, run_id: str) -> bool:
    """Whether a living process runs this run now; a lock of the kernel, so a killed process holds none."""
    file = folder_of(runs, run_id) / _LOCK
    try:
        with file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


class Run:
    """One run, prepared: everything that can be refused has been. `start` it in the thread that shall run it."""

    def __init__(self, store: RunStore, runs: Path, record: RunRecord, loaded: Loaded) -> None:
        self.record, self.notes = record, loaded.notes
        self._store, self._folder, self._loaded = store, folder_of(runs, record.run_id), loaded
        self._lock = _hold(self._folder)
        try:
            (self._folder / _PIPELINE).write_bytes(loaded.source)
            store.save_run(record)
        except OSError as error:
            self._lock.close()
            raise _full(error, self._folder) from error
        except BaseException:
            self._lock.close()
            raise

    def abandon(self) -> None:
        """Let go of a prepared run: it is as if this process had died."""
        self._lock.close()

    def execute(
        self, host: WarmHost, options: Options, stopping: Callable[[Execution], None] | None = None
    ) -> RunRecord:
        """Run it to its end and return how it ended; `stopping` is given what can be stopped before it starts."""
        try:
            execution = Execution(
                self._loaded.pipeline, self.record, self._folder.resolve(), self._store, host, options
            )
            if stopping is not None:
                stopping(execution)
            outcome = execution.run()
            ended = _ended(self.record, outcome, execution.stop_reason, self._loaded)
            self._store.save_run(ended)
            return ended
        finally:
            self._lock.close()


def prepare(store: RunStore, runs: Path, run_id: str, loaded: Loaded, given: Mapping[str, Any]) -> Run:
    """A new run; raises PipelineRefused before anything is started."""
    found = parameters.arguments(loaded.pipeline.root.inputs, given, pipeline=loaded.pipeline.name)
    refuse_remote(loaded.pipeline, found)
    refuse_missing(loaded.pipeline, found)
    record = RunRecord(run_id, loaded.pipeline.name, "RUNNING", datetime.now(UTC), parameters=found, pid=os.getpid())
    return Run(store, runs, record, loaded)


def can_resume(runs: Path, run_id: str) -> bool:
    """Whether what a run needs to be taken up again is still there."""
    return (folder_of(runs, run_id) / _PIPELINE).is_file()


def resume(store: RunStore, runs: Path, run_id: str) -> Run:
    """An earlier run that did not succeed: only what did not finish is run again. Raises PipelineRefused."""
    earlier = store.run(run_id)
    if earlier is None:
        raise PipelineRefused(f"no run {run_id}: list them with: trimtab pipeline list")
    if earlier.state == "SUCCEEDED":
        raise PipelineRefused(f"run {run_id} has succeeded: there is nothing to resume")
    loaded = load(folder_of(runs, run_id) / _PIPELINE)
    record = replace(earlier, state="RUNNING", ended=None, reason="", pid=os.getpid())
    return Run(store, runs, record, loaded)


def _ended(record: RunRecord, outcome: Outcome, stop_reason: str, loaded: Loaded) -> RunRecord:
    now = datetime.now(UTC)
    if outcome.state == "SUCCEEDED":
        return replace(record, state="SUCCEEDED", ended=now, output=output_of(outcome.values, loaded), reason="")
    if stop_reason.startswith("timed out"):
        return replace(record, state="FAILED", ended=now, reason=stop_reason)
    if stop_reason:
        return replace(record, state="INTERRUPTED", ended=now, reason=stop_reason)
    return replace(record, state="FAILED", ended=now, reason=outcome.reason)


def output_of(values: Values, loaded: Loaded) -> dict[str, Any]:
    """The pipeline's outputs by name: parameters as they are, artifacts as their URI (lists of them as lists)."""
    outputs = loaded.pipeline.root.outputs
    found = dict(values.parameters)
    for name, many in values.artifacts.items():
        spec = outputs.artifacts[name]
        found[name] = [one.uri for one in many] if spec.is_list or len(many) != 1 else many[0].uri
    return found


def _hold(folder: Path) -> IO[bytes]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    except OSError as error:
        raise _full(error, folder) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(f"{folder.name} is being run by another process: wait for it, or stop that one") from None
    return lock


def _full(error: OSError, folder: Path) -> StorageFull | PipelineRefused:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(f"no room in {folder}: free some and start the run again")
    return PipelineRefused(f"cannot write {folder}: {error.strerror or error}. Give another --home")
