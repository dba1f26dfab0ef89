"""`trimtab replay`: historic data as traffic, with something to look at, and a report at the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from trimtab import wiring
from trimtab.cli.opening import Opened, opened
from trimtab.cli.replay_display import LineDisplay, LiveDisplay
from trimtab.cli.show import REPLAY_REPORT, monitoring_entries
from trimtab.dashboard.replay_report import render
from trimtab.errors import Refused
from trimtab.loop.accepted import remember
from trimtab.loop.audit import early_decisions, early_rows, known_since
from trimtab.loop.calendar import parse_day
from trimtab.loop.forgetting import forget, may_forget
from trimtab.loop.memory import PeakMemory
from trimtab.loop.owner import owner_of, owning
from trimtab.loop.replay import Replay, lost_and_doubled
from trimtab.loop.story import Story
from trimtab.loop.turn import Loop
from trimtab.loop.world import World

SUMMARY = "demo-summary.json"


def replay(
    file: Path | None,
    home: Path | None,
    since: str,
    until: str,
    turn_days: int,
    mark: str,
    fresh: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Live through the rows of the source from `since`; earlier rows train the first version."""
    found = opened(file, home)
    began = time.monotonic()
    console = Console(stderr=as_json)
    if owner_of(found.home.owner) is None:  # whoever runs it is named below
        may_forget(found.home, fresh)
    frame = wiring.history(found.document, found.path)  # what cannot be replayed costs no earlier state
    first, last = _span(frame, since, until)
    marked = _mark(mark)
    with owning(found.home.make().owner, "trimtab replay"):
        forget(found.home)
        remember(found.home, found.document, datetime.now(UTC))
        world = wiring.replay_world(found.document, found.path, found.home)
        with PeakMemory() as memory:
            try:
                summary, story = _live_through(
                    found, world, frame, (first, last, turn_days), quiet or as_json, console, marked, began, memory
                )
            finally:
                world.close()
    page = _write(found, story, summary)
    if as_json:
        print(json.dumps(summary, indent=2))
    _close(console, summary, page)


def _live_through(
    found: Opened,
    world: World,
    frame: pd.DataFrame,
    span: tuple[Any, Any, int],
    plain: bool,
    console: Console,
    mark: Mapping[str, str] | None,
    began: float,
    memory: PeakMemory,
) -> tuple[dict[str, Any], dict[str, Any]]:
    since, until, days = span
    name = found.document.metadata.name
    display = LineDisplay(console) if plain or not console.is_terminal else LiveDisplay(console, name)
    baseline = wiring.baseline_servers(found.document, found.home)
    try:
        with display:
            driven = Replay(
                Loop(found.document, world),
                frame,
                lambda version: wiring.input_columns(world, name, version),
                baseline,
                lambda: world.router.address,
                since,
                until,
                days,
                display,
            )
            record = driven.run()
    finally:
        baseline.close()
    replayed = frame[(frame["_time"] >= since) & (frame["_time"] < until)].reset_index(drop=True)
    story = Story(found.document, replayed, record)
    logged = wiring.answers_logged(world, since, until + timedelta(days=1))
    lost, doubled = lost_and_doubled(record, logged, [str(id_) for id_ in replayed["_id"]])
    known = known_since(frame, found.document.spec.data.label.delay, wiring.labels_arrived(world))
    early = early_decisions(record.turns) + early_rows(wiring.learnt(world.runs), known)
    summary = story.summary(lost, doubled, early, time.monotonic() - began, memory.peak_mb)
    return summary, story.tell(summary, [*reversed(monitoring_entries(world.runs, found.home))], mark)


def _span(frame: pd.DataFrame, since: str, until: str) -> tuple[Any, Any]:
    oldest, newest = frame["_time"].min(), frame["_time"].max()
    if not since:
        raise Refused(
            f"say where the traffic begins: --from YEAR-MONTH, between {oldest:%Y-%m} and {newest:%Y-%m}; "
            "earlier rows train"
        )
    first = parse_day(since, "--from")
    last = parse_day(until, "--until") if until else (newest + pd.Timedelta(days=1)).normalize().to_pydatetime()
    if not oldest < pd.Timestamp(first) < newest:
        raise Refused(
            f"--from {since}: the source has rows from {oldest:%Y-%m-%d} to {newest:%Y-%m-%d}; choose a month between"
        )
    if last <= first:
        raise Refused(f"--until {until} is not after --from {since}")
    return first, last


def _mark(text: str) -> Mapping[str, str] | None:
    if not text:
        return None
    when, separator, what = text.partition("=")
    if not separator or not what.strip():
        raise Refused(f"--mark {text!r}: expected DAY=TEXT, such as 1995-09='a new species turns up'")
    parse_day(when, "--mark")
    return {"time": when, "text": what.strip()}


def _write(found: Opened, story: dict[str, Any], summary: dict[str, Any]) -> Path:
    root = found.home.root
    for entry in story["monitoring"]:
        if entry["report"]:
            entry["report"] = os.path.relpath(entry["report"], root)
    (root / "replay.json").write_text(json.dumps(story, allow_nan=False))
    (root / SUMMARY).write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n")
    page = root / REPLAY_REPORT
    page.write_text(render(story), encoding="utf-8")
    return page


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _close(console: Console, summary: Mapping[str, Any], page: Path) -> None:
    lost = summary["lost"] + summary["duplicated"]
    console.print(
        f"\n[bold]{summary['metric']} {_figure(summary['loop'])}[/] with the loop, "
        f"{_figure(summary['frozen'])} with the first model frozen; "
        f"{summary['retrains']} retrainings, {summary['promotions']} promotions, {summary['rollbacks']} roll-backs, "
        f"{summary['rejections']} rejections",
        highlight=False,
    )
    console.print(
        f"{summary['predictions']:,} predictions over HTTP in {summary['wall_seconds']:.0f} s, "
        f"{lost} lost or answered twice, {summary['peak_memory_mb']:.0f} MB at the peak",
        highlight=False,
    )
    console.print(f"summary: {page.parent / SUMMARY}", soft_wrap=True, highlight=False)
    console.print(f"report:  {page}", soft_wrap=True, highlight=False)
