"""`trimtab status`: how a loop stands, from its ledger and its state folder; nothing is asked of what runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trimtab import wiring
from trimtab.cli.changes import short
from trimtab.cli.edits import pending
from trimtab.cli.opening import Opened, opened_or_remembered
from trimtab.cli.warned import last_warnings
from trimtab.decisions.state import LoopState, routes_of
from trimtab.loop import failing
from trimtab.loop.owner import owner_of

_SERVING = ("trimtab up", "trimtab replay")  # whose servers are processes


def status(file: Path | None, home: Path | None, as_json: bool) -> None:
    """How the loop stands."""
    view = _view(opened_or_remembered(file, home))
    if as_json:
        print(json.dumps(view, indent=2))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _rows(view):
        table.add_row(name, Text(value))  # reasons and logs may hold brackets, which are no markup
    Console().print(table)


def _view(found: Opened) -> dict[str, Any]:
    ledger = wiring.ledger(found.document, found.home)
    last = ledger.turns.latest()
    state = LoopState() if last is None else LoopState.from_json(last.state)
    decided = ledger.turns.newest_decisions(1)
    wanted = routes_of(state)
    observed: Mapping[str, Any] = last.observed if last is not None else {}
    owner = owner_of(found.home.owner)
    return {
        "loop": found.document.metadata.name,
        "home": str(found.home.root),
        "document": found.doubt or (pending(found.home, found.document) if owner else "") or None,
        "owner": owner,
        "turn": last.number if last else 0,
        "time": last.time.isoformat() if last else None,
        "failing": failing.last(found.home),
        "champion": state.champion,
        "unserved": _unserved(state, observed),
        "previous": state.previous,
        "candidate": wanted.candidate,
        "candidate_percent": wanted.candidate_percent,
        "mirror_percent": wanted.mirror_percent,
        "training": state.training.cause.sentence if state.training else None,
        "quality": (observed.get("quality") or {}).get("live", {}),
        "labels": observed.get("counts", {}),
        "servers": _servers(observed, owner),
        "router": {"restarts": (observed.get("router") or {}).get("restarts", 0)},
        "collector": _collector(observed, owner),
        "data_warnings": last_warnings(ledger.runs),
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


def _servers(observed: Mapping[str, Any], owner: Mapping[str, Any] | None) -> dict[str, Any]:
    """As the last turn saw them; they end with the process that runs the loop."""
    seen: Mapping[str, Any] = observed.get("servers", {})
    if owner is not None and owner.get("command") in _SERVING:
        return dict(seen)
    return {version: {**one, "state": "stopped"} for version, one in seen.items()}


def _collector(observed: Mapping[str, Any], owner: Mapping[str, Any] | None) -> str | None:
    """Why it takes no labels just now."""
    reason = (observed.get("collector") or {}).get("reason", "")
    return short(reason) if reason and owner is not None and owner.get("command") in _SERVING else None


def _rows(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    owner = view["owner"]
    running = f"pid {owner['pid']} ({owner['command']})" if owner else "not running; start it with: trimtab up"
    rows = [("loop", f"{view['loop']}"), ("process", running), ("state", view["home"])]
    if view["document"]:
        rows.append(("loop.yaml", view["document"]))
    if view["failing"]:
        rows.append(("failing", _failing(view["failing"])))
    rows.append(
        ("champion", f"version {view['champion']}" if view["champion"] else "none yet; train one with: trimtab run")
    )
    if view["unserved"]:
        rows.append(("not served", view["unserved"]))
    if view["candidate"]:
        shares = f"{view['candidate_percent']} % of traffic, {view['mirror_percent']} % mirrored"
        rows.append(("candidate", f"version {view['candidate']}: {shares}"))
    rows += _of_processes(view)
    if view["training"]:
        rows.append(("training", view["training"]))
    rows += _of_quality(view)
    warned = view["data_warnings"]
    if warned["count"]:
        more = f" (and {warned['count'] - 1} more: trimtab pipeline logs {warned['run']} validate)"
        rows.append(("data", f"{warned['sentences'][0]}{more if warned['count'] > 1 else ''}"))
    if view["alarms"]:
        rows.append(("alarms", ", ".join(view["alarms"])))
    if view["waiting_for"]:
        rows.append(("waiting for", view["waiting_for"]))
    last = view["last_decision"]
    if last:
        rows.append(("last decision", f"{last['time'][:19]}  {last['kind']}  {last['sentence']}"))
    return rows


def _failing(told: Mapping[str, Any]) -> str:
    times = "once" if told["times"] == 1 else f"{told['times']} times since {told['since'][:19]}"
    return f"the last turn failed ({times}, the last one {told['time'][:19]}): {told['sentence']}"


def _of_processes(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for version, one in view["servers"].items():
        restarts = f", {one['restarts']} restarts" if one.get("restarts") else ""
        reason = f": {one['reason']}" if one.get("reason") and one["state"] != "ready" else ""
        rows.append(("server", f"version {version} {one['state']}{restarts}{reason}"))
    if view["router"]["restarts"]:
        rows.append(("router", f"started again {view['router']['restarts']} times; its log: {view['home']}/router"))
    if view["collector"]:
        rows.append(("collector", f"takes no labels just now, it is starting again: {view['collector']}"))
    return rows


def _of_quality(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (name, f"{one['value']:.4g}  ({one['low']:.4g} to {one['high']:.4g}, over {one['n']} matured labels)")
        for name, one in view["quality"].items()
    ]
    counts = view["labels"]
    if counts:
        rows.append(("predictions", f"{counts['answers']:,} in the window"))
        unusable = f", {counts['unusable_labels']:,} that are no number" if counts.get("unusable_labels") else ""
        rows.append(
            (
                "labels",
                f"{counts['labels']:,} received: {counts['matured']:,} matured, {counts['early']:,} early, "
                f"{counts['duplicate_labels']:,} repeated, {counts['unknown_ids']:,} of unknown ids{unusable}",
            )
        )
    return rows
