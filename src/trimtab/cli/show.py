"""`trimtab history`, `reports`, `report`: looking, never changing."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab import wiring
from trimtab.cli.opening import opened_or_remembered
from trimtab.errors import Refused
from trimtab.loop.home import Home
from trimtab.ports.runs import RunStore
from trimtab.ports.turns import Turn
from trimtab.spec.section import format_duration

REPLAY_REPORT = "report.html"


def history(file: Path | None, home: Path | None, limit: int, as_json: bool) -> None:
    """Every decision, newest last."""
    found = opened_or_remembered(file, home)
    decisions = list(reversed(wiring.ledger(found.document, found.home).turns.newest_decisions(limit)))
    if as_json:
        print(json.dumps(decisions, indent=2))
        return
    if not decisions:
        Console().print("nothing was decided yet; train a first version with: trimtab run")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("time", "decision", "version"):
        table.add_column(name, no_wrap=True, style="dim" if name == "time" else "")
    table.add_column("why", overflow="fold")
    for one in decisions:
        table.add_row(one["time"][:16].replace("T", " "), one["kind"], one.get("version") or "", one["sentence"])
    Console().print(table)


def reports(file: Path | None, home: Path | None, open_newest: bool, as_json: bool) -> None:
    """The monitoring reports that were kept."""
    found = opened_or_remembered(file, home)
    entries = [
        {name: entry[name] for name in ("time", "verdict", "sentence", "report")}
        for entry in monitoring_entries(wiring.ledger(found.document, found.home).runs, found.home)
    ]
    if as_json:
        print(json.dumps(entries, indent=2))
    elif not entries:
        every = format_duration(found.document.spec.monitoring.every)
        Console().print(f"no monitoring report yet; one is made every {every} of traffic")
    else:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("time", "verdict", "report"):
            table.add_column(name, overflow="fold")
        for entry in entries:
            table.add_row(entry["time"][:16].replace("T", " "), entry["verdict"], entry["report"])
        Console().print(table)
    if open_newest and entries:
        _open(Path(entries[0]["report"]))


def monitoring_entries(runs: RunStore, home: Home) -> list[dict[str, Any]]:
    """What the monitoring runs found, newest first."""
    from trimtab.loop.monitored import monitoring_entry

    return [monitoring_entry(run, report) for run, report in wiring.monitoring_runs(runs, home)]


def report(file: Path | None, home: Path | None, open_it: bool) -> None:
    """The report of the last replay."""
    from trimtab.dashboard.replay_report import render

    found = opened_or_remembered(file, home)
    told = found.home.root / "replay.json"
    if not told.is_file():
        raise Refused(f"no replay was finished in {found.home.root}. Make one with: trimtab replay --from 1985-01")
    page = found.home.root / REPLAY_REPORT
    page.write_text(render(json.loads(told.read_text())), encoding="utf-8")
    Console().print(f"report: {page}", soft_wrap=True)
    if open_it:
        _open(page)


def _open(page: Path) -> None:
    if not webbrowser.open(page.as_uri()):
        raise Refused(f"no browser could be started. Open this file in one: {page}")


def decision_lines(turn: Turn) -> list[str]:
    """The turn's decisions, a line each."""
    return [f"{one['kind']}: {one['sentence']}" for one in turn.decisions]
