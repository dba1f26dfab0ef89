"""Values for the tests of decisions: one healthy moment, from which each test departs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from trimtab.decisions.observed import (
    Comparison,
    Estimate,
    Latency,
    MonitoringSeen,
    Observed,
    Paired,
    Quality,
    ServerSeen,
)
from trimtab.decisions.state import Cause, Count, LoopState, Release
from trimtab.spec.document import LoopSpec

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CAUSE = Cause("drift", "drift", "drift@1#0", "what it uses has drifted")
SERVING = LoopState(champion="1", champion_since=T0, trainings=1, last_training=T0)
TEN_POINTS_WORSE = Paired(1000, 800, 130, 30)


def spec(**sections: Any) -> LoopSpec:
    """The smallest loop with a promised accuracy of .8, and the sections given."""
    return LoopSpec.model_validate(
        {
            "scope": {"problem": "classification", "metrics": [{"name": "accuracy", "min": 0.8}]},
            "data": {"source": {"path": "rows.csv"}, "time": {"column": "t"}, "label": {"column": "y"}},
            **sections,
        }
    )


def comparison(paired: Paired, **more: Any) -> Comparison:
    """A comparison of right answers with the default margin of two points."""
    return Comparison("accuracy", "right answers", 0.02, paired, **more)


def good(n: int = 100) -> Comparison:
    """As good as the champion, a little better."""
    return comparison(Paired(n, n - n // 5, n // 20, n // 10))


def seen(now: datetime = T0 + 2 * HOUR, requests: int = 1000, failures: int = 0, **more: Any) -> Observed:
    """Version 2 beside version 1: both ready, its traffic healthy, labels that favour it."""
    values: dict[str, Any] = {
        "comparison": good(),
        "traffic": {"1": Count(5000, 0, "e"), "2": Count(requests, failures, "e")},
        "latency": {"1": Latency(5000, 5, 20), "2": Latency(requests, 5, 21, 0, 60.0)},
        "servers": {"1": ServerSeen("ready"), "2": ServerSeen("ready")},
    }
    return Observed(now, **{**values, **more})


def shadowing(**more: Any) -> Release:
    """Version 2 as a shadow since T0."""
    return replace(Release("2", CAUSE, T0, "shadow", T0, mirror_percent=100, counted={"2": Count(0, 0, "e")}), **more)


def live(value: float, n: int = 400, half: float = 0.03, **more: Any) -> Quality:
    """Live accuracy with its interval; the hold-out was at .9."""
    estimates = {"accuracy": Estimate(value, value - half, value + half, n)}
    holdout = {"accuracy": Estimate(0.9, 0.88, 0.92, 1000)}
    return Quality(estimates, holdout, **{"version": "1", **more})


def monitored(now: datetime, **more: Any) -> MonitoringSeen:
    """A monitoring verdict of now."""
    drifted = any(one.drifted for one in more.get("drift", ()))
    plain = {"verdict": "healthy", "drift_verdict": "drifted" if drifted else "stable", "labels": 400}
    return MonitoringSeen(now, **{**plain, **more})
