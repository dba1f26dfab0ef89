"""`trimtab status`, `history`, `reports`, `report`: looking, never changing."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab import wiring
from trimtab.cli.opening import Opened, opened
from trimtab.decisions.state import LoopState, routes_of
from trimtab.errors import Refused
from trimtab.loop.home import Home
from trimtab.loop.owner import owner_of
from trimtab.ports.runs import RunStore
from trimtab.ports.turns import Turn

REPLAY_REPORT = "report.html"


def status(file: Path | None, home: Path | None, as_json: bool) -> None:
    """How the loop stands."""
    found = opened(file, home)
    view = _status(found)
    if as_json:
        print(json.dumps(view, indent=2))
        return
    console = Console()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _status_rows(view):
        table.add_row(name, value)
    console.print(table)


def _status(found: Opened) -> dict[str, Any]:
    ledger = wiring.ledger(found.document, found.home)
    last = ledger.turns.latest()
    state = LoopState() if last is None else LoopState.from_json(last.state)
    decided = ledger.turns.newest_decisions(1)
    wanted = routes_of(state)
    observed: Mapping[str, Any] = last.observed if last is not None else {}
    return {
        "loop": found.document.metadata.name,
        "home": str(found.home.root),
        "owner": owner_of(found.home.owner),
        "turn": last.number if last else 0,
        "time": last.time.isoformat() if last else None,
        "champion": state.champion,
        "unserved": _unserved(state, observed),
        "previous": state.previous,
        "candidate": wanted.candidate,
        "candidate_percent": wanted.candidate_percent,
        "mirror_percent": wanted.mirror_percent,
        "training": state.training.cause.sentence if state.training else None,
        "quality": (observed.get("quality") or {}).get("live", {}),
        "labels": observed.get("counts", {}),
        "servers": observed.get("servers", {}),
        "alarms": list(state.alarms),
        "waiting_for": observed.get("hold") or None,
        "last_decision": decided[0] if decided else None,
    }


def _unserved(state: LoopState, observed: Mapping[str, Any]) -> str | None:
    """Why nothing answers requests though there is a champion, and what to do."""
    if not state.unserved:
        return None
    reason = observed.get("servers", {}).get(state.unserved, {}).get("reason") or "no reason was given"
    return (
        f"version {state.unserved} cannot be served, so requests are answered with 503: {reason.rstrip('.')}. "
        "Mend what the reason names, or train another version: trimtab retrain"
    )


def _status_rows(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    owner = view["owner"]
    running = f"pid {owner['pid']} ({owner['command']})" if owner else "not running; start it with: trimtab up"
    rows = [("loop", f"[bold]{view['loop']}[/]"), ("process", running), ("state", view["home"])]
    rows.append(
        ("champion", f"version {view['champion']}" if view["champion"] else "none yet; train one with: trimtab run")
    )
    if view["unserved"]:
        rows.append(("not served", view["unserved"]))
    if view["candidate"]:
        shares = f"{view['candidate_percent']} % of traffic, {view['mirror_percent']} % mirrored"
        rows.append(("candidate", f"version {view['candidate']}: {shares}"))
    if view["training"]:
        rows.append(("training", view["training"]))
    for name, one in view["quality"].items():
        rows.append(
            (name, f"{one['value']:.4g}  ({one['low']:.4g} to {one['high']:.4g}, over {one['n']} matured labels)")
        )
    counts = view["labels"]
    if counts:
        rows.append(("predictions", f"{counts['answers']:,} in the window"))
        rows.append(
            (
                "labels",
                f"{counts['labels']:,} received: {counts['matured']:,} matured, {counts['early']:,} early, "
                f"{counts['duplicate_labels']:,} repeated, {counts['unknown_ids']:,} of unknown ids"
                + (f", {counts['unusable_labels']:,} that are no number" if counts.get("unusable_labels") else ""),
            )
        )
    if view["alarms"]:
        rows.append(("alarms", ", ".join(view["alarms"])))
    if view["waiting_for"]:
        rows.append(("waiting for", view["waiting_for"]))
    last = view["last_decision"]
    if last:
        rows.append(("last decision", f"{last['time'][:19]}  [bold]{last['kind']}[/]  {last['sentence']}"))
    return rows


def history(file: Path | None, home: Path | None, limit: int, as_json: bool) -> None:
    """Every decision, newest last."""
    found = opened(file, home)
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
    found = opened(file, home)
    entries = [
        {name: entry[name] for name in ("time", "verdict", "sentence", "report")}
        for entry in monitoring_entries(wiring.ledger(found.document, found.home).runs, found.home)
    ]
    if as_json:
        print(json.dumps(entries, indent=2))
    elif not entries:
        Console().print(
            f"no monitoring report yet; one is made every {found.document.spec.monitoring.every} of traffic"
        )
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

    found = opened(file, home)
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
