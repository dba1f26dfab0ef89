"""`trimtab pipeline run`: one run in this process, its tasks shown as they end."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine, ledger_place
from trimtab.cli.pipeline_show import find_run, json_of, runs_home
from trimtab.cli.task_display import TaskDisplay
from trimtab.engine.execution import Execution, Options
from trimtab.engine.ir import Interface
from trimtab.engine.load import load
from trimtab.engine.naming import segment
from trimtab.engine.parameters import WrongTypeError, from_text
from trimtab.engine.run import Run, default_jobs, prepare, resume
from trimtab.engine.warm import WarmHost
from trimtab.errors import PipelineRefused, TrimtabError
from trimtab.loop.home import Home
from trimtab.ports.runs import RunRecord, RunStore

_EXIT = {"SUCCEEDED": 0, "FAILED": 1, "INTERRUPTED": 130}


@dataclass(frozen=True)
class Wanted:
    """What the command line says."""

    file: Path | None
    parameters: tuple[str, ...]
    jobs: int | None
    cache: bool
    resume: str | None
    home: Path | None
    as_json: bool


def run_here(wanted: Wanted) -> int:
    """Run it and print how it went; returns the exit code. A refusal is printed as JSON too, and raised."""
    try:
        home = runs_home(wanted.home)
        run, store = _prepared(wanted, home)
    except TrimtabError as error:
        if wanted.as_json:
            told: dict[str, Any] = {"state": "REFUSED", "output": None, "run": None, "tasks": [], "reason": str(error)}
            print(json.dumps(told, indent=2))
        raise
    ended = _execute(run, wanted, home)
    view = json_of(ended, store)
    if wanted.as_json:
        print(json.dumps(view, indent=2))
    else:
        _print_end(ended, view)
    return _EXIT[ended.state]


def _prepared(wanted: Wanted, home: Home) -> tuple[Run, RunStore]:
    if wanted.resume is not None:
        if wanted.parameters or wanted.file is not None:
            raise PipelineRefused("--resume takes the pipeline and parameters of that run: give neither FILE nor -p")
        store = _store(home)
        return resume(store, home.runs, find_run(wanted.resume, store).run_id), store
    if wanted.file is None:
        raise PipelineRefused("which pipeline? Give the YAML that kfp's compiler wrote, or --resume RUN")
    loaded = load(wanted.file)
    given = typed(wanted.parameters, loaded.pipeline.root.inputs)
    run_id = f"{segment(loaded.pipeline.name)}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    store = _store(home)
    return prepare(store, home.runs, run_id, loaded, given), store


def _store(home: Home) -> SqlRuns:
    try:
        return SqlRuns(ledger_engine(ledger_place(home.make().ledger)))
    except OSError as error:
        raise PipelineRefused(f"cannot keep runs in {home.root}: {error.strerror}. Give another --home") from error


def typed(texts: tuple[str, ...], interface: Interface) -> Mapping[str, Any]:
    """`name=value` texts as values of the pipeline's types; raises PipelineRefused."""
    found: dict[str, Any] = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given or not name:
            raise PipelineRefused(f"-p {text}: expected name=value")
        if name in found:
            raise PipelineRefused(f"parameter {name} is given twice")
        spec = interface.parameters.get(name)
        found[name] = value
        with contextlib.suppress(WrongTypeError):  # `prepare` refuses it, together with all that is wrong
            found[name] = value if spec is None else from_text(value, spec.type, optional=spec.optional)
    return found


def _execute(run: Run, wanted: Wanted, home: Home) -> RunRecord:
    host = WarmHost(home.runs / "host.log")
    with TaskDisplay(f"{run.record.pipeline}  run {run.record.run_id}", run.notes) as display:
        options = Options(wanted.jobs or default_jobs(), wanted.cache, display.take)
        interrupts = _Interrupts()
        try:
            with interrupts:
                return run.execute(host, options, interrupts.reach)
        finally:
            host.close()


class _Interrupts:
    """Ctrl-C and SIGTERM stop the run in order: tasks end, exit tasks run, the run can be resumed."""

    def __init__(self) -> None:
        self._execution: Execution | None = None
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def reach(self, execution: Execution) -> None:
        """This is what to stop; at once, if it was asked for already."""
        self._execution = execution
        if self._asked:
            self._stop()

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, _: int = 0, __: FrameType | None = None) -> None:
        self._asked = True
        if self._execution is not None:
            self._execution.stop("interrupted by a person", exit_tasks=True)


def _print_end(ended: RunRecord, told: Mapping[str, Any]) -> None:
    console = Console(stderr=True)
    if ended.state == "SUCCEEDED":
        console.print(f"[green]succeeded[/]  run {ended.run_id}", highlight=False)
        if told["output"] is not None:
            output = told["output"]
            print(output if isinstance(output, str) else json.dumps(output, indent=2))
        return
    console.print(f"[red]{ended.state.lower()}[/]  run {ended.run_id}", highlight=False)
    console.print(ended.reason, markup=False, highlight=False)
    console.print(f"logs:   trimtab pipeline logs {ended.run_id}", highlight=False)
    console.print(f"resume: trimtab pipeline run --resume {ended.run_id}", highlight=False)
