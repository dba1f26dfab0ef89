"""`trimtab run`: one training, judged; the first good version becomes the champion."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from trimtab import wiring
from trimtab.cli.opening import opened, refuse_new_name
from trimtab.cli.task_display import TaskDisplay
from trimtab.cli.warned import lines, warnings_of
from trimtab.decisions.state import LoopState
from trimtab.errors import TrimtabError
from trimtab.loop.accepted import remember
from trimtab.loop.calendar import parse_day
from trimtab.loop.owner import owner_of, owning
from trimtab.loop.turn import Loop
from trimtab.ports.turns import Turn


def run_once(file: Path | None, home: Path | None, as_of: str | None, as_json: bool) -> None:
    """Ask for a training, see it through, say what came of it."""
    found = opened(file, home)
    refuse_new_name(found)
    owner = owner_of(found.home.owner)
    if owner is not None:
        raise TrimtabError(f"the loop is run by process {owner['pid']}; ask that one with: trimtab retrain")
    now = parse_day(as_of, "--as-of") if as_of else datetime.now(UTC)
    seen: list[Turn] = []
    display = TaskDisplay(
        f"training {found.document.metadata.name} on what was known at {now:%Y-%m-%d %H:%M} UTC", branches=False
    )
    with owning(found.home.make().owner, "trimtab run"):
        found.home.replay_marker.unlink(missing_ok=True)  # from now on it is a live loop's
        remember(found.home, found.document, datetime.now(UTC))
        world = wiring.training_world(found.document, found.path, found.home, display.take)
        try:
            loop = Loop(found.document, world)
            if loop.state().champion is not None or loop.state().trainings:
                world.turns.wish(now, "retrain", {"why": "trimtab run"})
            with display:
                loop.settle(now, seen.append, limit_seconds=24 * 3600)
            state = loop.state()
            results = [wiring.run_result(world, key) for key in _keys(seen)]
            for result in results:
                result["warnings"] = warnings_of(world.runs.tasks(result["run"]))
        finally:
            world.close()
    decisions = [decision for turn in seen for decision in turn.decisions]
    if as_json:
        print(json.dumps({"champion": state.champion, "decisions": decisions, "runs": results}, indent=2))
    else:
        _print(Console(), decisions, results, state)
    if any(decision["kind"] in ("training-failed", "reject") for decision in decisions):
        raise SystemExit(1)


def _keys(turns: list[Turn]) -> list[str]:
    states = [LoopState.from_json(turn.state) for turn in turns]
    return list(dict.fromkeys(state.training.run_key for state in states if state.training is not None))


def _print(console: Console, decisions: list[Any], results: list[dict[str, Any]], state: LoopState) -> None:
    for result in results:
        for line in lines(result["warnings"], result["run"]):
            console.print(line, markup=False, highlight=False, soft_wrap=True, style="yellow")
    evaluations = [decision["evidence"].get("evaluation") for decision in decisions]
    for evaluation in evaluations:
        if isinstance(evaluation, dict):
            _print_quality(console, evaluation)
    for result in results:
        if result["tasks"]:
            console.print(f"logs: trimtab pipeline logs {result['run']}", markup=False, highlight=False, soft_wrap=True)
    for decision in decisions:
        console.print(f"{decision['kind']}: {decision['sentence']}", markup=False, highlight=False, soft_wrap=True)
    if state.champion is not None:
        console.print(f"champion: version {state.champion}. Serve it with: [bold]trimtab up[/]", highlight=False)


def _print_quality(console: Console, evaluation: dict[str, Any]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("on the hold-out", "value", "interval", "rows"):
        table.add_column(name, justify="left" if name == "on the hold-out" else "right")
    for name, one in evaluation["metrics"].items():
        if one["value"] is not None:
            table.add_row(name, f"{one['value']:.4g}", f"{one['low']:.4g} to {one['high']:.4g}", str(one["n"]))
    console.print(table)
    for reason in evaluation["reasons"]:
        console.print(f"{evaluation['verdict']}: {reason}", markup=False, highlight=False, soft_wrap=True)
