"""How far a replay is, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where a replay is, for people."""

    at: str = ""
    done: int = 0
    periods: int = 0
    predictions: int = 0
    activity: str = ""
    period_finished: bool = False
    metric: str = ""
    champion: str = ""
    candidate: str = ""
    candidate_percent: int = 0
    mirror_percent: int = 0
    recent: float | None = None  # over the last `recent_rows` predictions
    recent_rows: int = 0
    frozen_recent: float | None = None
    loop_by_year: tuple[float | None, ...] = ()
    frozen_by_year: tuple[float | None, ...] = ()
    drift: str = ""
    decisions: tuple[tuple[str, str, str], ...] = ()
