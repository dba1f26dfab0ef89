"""The terminal while a replay runs: time line, versions, traffic, quality, drift, the last decisions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import inf

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from trimtab.loop.progress import Progress
from trimtab.spec.metrics import KNOWN

_BARS = "▁▂▃▄▅▆▇█"
_KEPT = 6
_TONES = {
    "promote": "green",
    "retrain": "magenta",
    "alarm": "yellow",
    "roll-back": "red",
    "reject": "red",
    "training-failed": "red",
    "unserved": "red",
}


class LiveDisplay:
    """Redraws in place; use it as a context and call it with each progress."""

    def __init__(self, console: Console, name: str) -> None:
        self._name = name
        self._started = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        self._live.update(
            Panel(Text("starting the collector, the router and the first training …"), title=self._title())
        )
        return self

    def __exit__(self, *details: object) -> None:
        self._live.__exit__(None, None, None)

    def __call__(self, progress: Progress) -> None:
        """Show where the replay is."""
        self._live.update(self._panel(progress))

    def _title(self) -> str:
        return f"[bold]trimtab replay[/] · {self._name}"

    def _panel(self, progress: Progress) -> RenderableType:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim")
        facts.add_column()
        facts.add_row("traffic", _traffic(progress))
        facts.add_row(progress.metric, _quality(progress))
        low, high = _ends(progress)
        facts.add_row("with the loop", Text(sparkline(progress.loop_by_year, low, high), style="cyan"))
        facts.add_row("frozen model", Text(sparkline(progress.frozen_by_year, low, high), style="rgb(200,85,43)"))
        facts.add_row("drift", progress.drift or "[dim]no report yet[/]")
        log = Table.grid(padding=(0, 1))
        log.add_column(style="dim", no_wrap=True)
        log.add_column(no_wrap=True)
        log.add_column(overflow="fold")
        for when, kind, sentence in progress.decisions[-_KEPT:]:
            log.add_row(when[:10], Text(kind, style=_TONES.get(kind, "blue")), Text(sentence))
        spent = time.monotonic() - self._started
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True, justify="right")
        bar.add_row(
            Text(progress.at, style="bold"),
            ProgressBar(total=progress.periods, completed=progress.done),
            f"{progress.predictions:,} predictions · {spent:.0f} s",
        )
        activity = Text(progress.activity, style="dim italic")
        return Panel(Group(bar, activity, Text(), facts, Text(), log), title=self._title(), border_style="cyan")


class LineDisplay:
    """One line a period, for logs and for terminals that cannot redraw."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0
        self._at = ""

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(self, *details: object) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        """Print what is new."""
        for when, kind, sentence in progress.decisions[self._told :]:
            self._console.print(f"  {when[:10]} {kind}: {sentence}", highlight=False, markup=False)
        self._told = len(progress.decisions)
        if progress.period_finished and progress.at != self._at:
            self._at = progress.at
            self._console.print(
                f"{progress.at}  {progress.predictions:>7,} predictions  {progress.metric} {_number(progress.recent)} "
                f"(frozen {_number(progress.frozen_recent)})  champion v{progress.champion or '-'}",
                highlight=False,
                markup=False,
            )


def sparkline(values: Sequence[float | None], low: float = 0.4, high: float = 1.0) -> str:
    """Bars between `low` and `high`; a missing value is a blank."""
    out = []
    for value in values:
        if value is None:
            out.append("  ")
            continue
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        out.append(_BARS[round(share * (len(_BARS) - 1))] * 2)
    return "".join(out)


def _ends(progress: Progress) -> tuple[float, float]:
    """What the least and the tallest bar mean: shares .4 to 1, errors nought to the greatest of both models."""
    if progress.metric in KNOWN and KNOWN[progress.metric].most < inf:
        return (0.4, 1.0)
    found = [value for value in (*progress.loop_by_year, *progress.frozen_by_year) if value is not None]
    return (0.0, max(found, default=0.0) or 1.0)


def _traffic(progress: Progress) -> Text:
    text = Text(f"champion v{progress.champion or '-'}", style="bold cyan")
    if progress.candidate:
        text.append(f"   candidate v{progress.candidate} ", style="bold magenta")
        width = 20
        filled = round(width * progress.candidate_percent / 100)
        text.append("█" * filled, style="magenta")
        text.append("░" * (width - filled), style="cyan")
        text.append(f" {progress.candidate_percent} %")
        if progress.mirror_percent:
            text.append(f", {progress.mirror_percent} % mirrored", style="dim")
    return text


def _quality(progress: Progress) -> Text:
    text = Text(f"{_number(progress.recent)} ", style="bold cyan")
    over = f"over the last {progress.recent_rows:,} predictions, " if progress.recent_rows else ""
    text.append(f"{over}frozen {_number(progress.frozen_recent)}", style="dim")
    return text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
