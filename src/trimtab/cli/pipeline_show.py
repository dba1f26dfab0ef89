"""`trimtab pipeline list`, `show`, `logs`: looking at runs, never changing them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine, ledger_place
from trimtab.engine.run import is_held
from trimtab.errors import Refused
from trimtab.loop.home import DOCUMENT, STATE_FOLDER, Home
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord

_MOST_RUNS = 10_000


def runs_home(given: Path | None) -> Home:
    """Where runs live: the given folder, else `.trimtab` beside the nearest loop.yaml upward, else in this folder."""
    if given is not None:
        return Home(given.resolve())
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / DOCUMENT).is_file():
            return Home(folder / STATE_FOLDER)
    return Home(here / STATE_FOLDER)


def json_of(run: RunRecord, store: RunStore) -> dict[str, Any]:
    """A run with its tasks, for scripts."""
    return {
        "state": run.state,
        "output": output_of(run),
        "run": run.run_id,
        "pipeline": run.pipeline,
        "started": run.started.isoformat(),
        "seconds": _seconds(run),
        "parameters": dict(run.parameters),
        "reason": run.reason,
        "tasks": [_task_json(task) for task in store.tasks(run.run_id)],
    }


def output_of(run: RunRecord) -> Any:
    """The pipeline's return value: the value itself if it returns one unnamed, else its outputs by name."""
    outputs = run.output or {}
    if not outputs:
        return None
    return outputs["Output"] if set(outputs) == {"Output"} else dict(outputs)


def list_runs(limit: int, home: Path | None, as_json: bool) -> None:
    """The newest runs."""
    where = runs_home(home)
    found = [_now(run, where) for run in _store(where).runs(limit)]
    if as_json:
        told = [
            {
                "run": run.run_id,
                "pipeline": run.pipeline,
                "state": run.state,
                "started": run.started.isoformat(),
                "seconds": _seconds(run),
                "reason": run.reason,
            }
            for run in found
        ]
        print(json.dumps(told, indent=2))
        return
    table = Table("run", "state", "started", "seconds", "pipeline", box=None, header_style="bold")
    for run in found:
        started = f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}"
        table.add_row(escape(run.run_id), run.state, started, _shown(_seconds(run)), escape(run.pipeline))
    _console().print(table if found else "no runs yet; make one with: trimtab pipeline run FILE.yaml")


def show_run(name: str, home: Path | None, as_json: bool) -> None:
    """One run with its tasks."""
    where = runs_home(home)
    store = _store(where)
    run = _now(find_run(name, store), where)
    told = json_of(run, store)
    if as_json:
        print(json.dumps(told, indent=2))
        return
    console = _console()
    console.print(f"[bold]{escape(run.pipeline)}[/]  {escape(run.run_id)}  {run.state}", highlight=False)
    if run.reason:
        console.print(run.reason, markup=False, highlight=False)
    if told["output"] is not None:
        console.print(f"output: {json.dumps(told['output'])[:500]}", markup=False, highlight=False)
    table = Table("task", "state", "seconds", "attempts", "", box=None, header_style="bold")
    for one in told["tasks"]:
        row = (escape(one["path"]), one["state"], _shown(one["seconds"]), str(one["attempts"]))
        table.add_row(*row, escape(one["exit_reason"]))
    console.print(table)


def print_logs(name: str, task: str | None, home: Path | None) -> None:
    """The logs of one task, or of all in the order they began."""
    store = _store(runs_home(home))
    run = find_run(name, store)
    tasks = [one for one in store.tasks(run.run_id) if one.log]
    if task is not None:
        tasks = [one for one in tasks if one.path == task] or [one for one in tasks if one.path.endswith(f"/{task}")]
        if not tasks:
            paths = ", ".join(one.path for one in store.tasks(run.run_id) if one.log)
            raise Refused(f"no task {task} with a log in {run.run_id}; there are: {paths or 'none'}")
    for one in tasks:
        if len(tasks) > 1:
            print(f"==> {one.path} ({one.state.lower()}) <==", flush=True)
        try:
            with Path(one.log).open("rb") as log:
                shutil.copyfileobj(log, sys.stdout.buffer)
        except OSError as error:
            raise Refused(f"{one.path}: its log {one.log} cannot be read ({error.strerror})") from error
        sys.stdout.buffer.flush()


def _console() -> Console:
    """As wide as the terminal; wide where there is none, so that scripts find one run or task a line."""
    console = Console()
    return console if console.is_terminal else Console(width=200)


def _store(home: Home) -> RunStore:
    place = ledger_place(home.ledger)
    return SqlRuns(ledger_engine(place)) if isinstance(place, str) or place.exists() else MemoryRuns()


def find_run(name: str, store: RunStore) -> RunRecord:
    """The run whose id is, or alone begins with, `name`; raises Refused."""
    run = store.run(name)
    if run is not None:
        return run
    found = [one for one in store.runs(_MOST_RUNS) if one.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} runs begin with {name}" if found else f"no run {name}"
    raise Refused(f"{many}: list them with: trimtab pipeline list")


def _now(run: RunRecord, home: Home) -> RunRecord:
    """A run that nobody runs any more was interrupted, though its last word is that it runs."""
    if run.state != "RUNNING" or is_held(home.runs, run.run_id):
        return run
    from dataclasses import replace

    return replace(run, state="INTERRUPTED", reason="the process that ran it died")


def _task_json(task: TaskRecord) -> dict[str, Any]:
    return {
        "path": task.path,
        "state": task.state,
        "started": task.started.isoformat() if task.started else None,
        "ended": task.ended.isoformat() if task.ended else None,
        "seconds": _seconds(task),
        "attempts": task.attempt,
        "exit_reason": task.exit_reason,
        "log": task.log,
        "inputs": dict(task.inputs),
        "outputs": dict(task.outputs),
    }


def _seconds(one: RunRecord | TaskRecord) -> float | None:
    if one.started is None or one.ended is None:
        return None
    return round((one.ended - one.started).total_seconds(), 3)


def _shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"
