"""A clock that was years ahead and was put right: everything goes on in the time it would have taken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decision_cases import DAY, HOUR, SERVING, T0, live, monitored, shadowing, spec

from trimtab.decisions.observed import Observed, RunSeen, UnseenClass
from trimtab.decisions.state import Handled
from trimtab.decisions.turn import decide

SPEC = spec(retraining={"cooldown": "7d", "causes": ["quality", "schedule", "new-class"], "every": "30d"})
FALSE = T0 + 3650 * DAY
NOW = T0 + 40 * DAY
BAD = {"unseen": (UnseenClass("Chaetodipus", 40, 0.1),)}
AHEAD = replace(
    SERVING,
    last_training=FALSE,
    monitored=FALSE,
    retrainings=(FALSE,),
    handled=(Handled("new-class:Chaetodipus", "k", FALSE, 1),),
)


def _days(state, days, start=NOW, **seen):
    """A turn every six hours; the days on which a run or a monitoring started, and the holds."""
    started, watched, holds = [], [], []
    for quarter in range(1, 4 * days):
        now = start + quarter * 6 * HOUR
        done = RunSeen(state.monitoring.key, "SUCCEEDED") if state.monitoring else None
        timed = {"monitoring": monitored(now, **seen)} if seen else {}
        outcome = decide(SPEC, state, Observed(now, monitoring_run=done, **timed))
        if outcome.state.monitorings > state.monitorings:
            watched.append(quarter / 4)
        state = outcome.state
        if state.training is not None:
            started.append((quarter / 4, state.training.cause.kind))
            state = replace(state, training=None)
        holds.append(outcome.hold)
    return state, started, watched, holds


def test_monitoring_goes_on_after_its_usual_time_and_the_reason_is_said() -> None:
    state, _, watched, holds = _days(AHEAD, 5)
    assert watched == [1.25, 2.25, 3.25, 4.25]
    assert all("The clock was ahead, up to 2035-12-30 00:00" in hold for hold in holds)
    assert state.last_training == FALSE  # nothing that was remembered is lost


@pytest.mark.parametrize(
    ("seen", "kind", "day"),
    [(BAD, "new-class", 7.25), ({}, "schedule", 30.25)],
    ids=["a cause, after its back-off", "the schedule"],
)
def test_training_waits_no_longer_than_it_would_have(seen: dict, kind: str, day: float) -> None:
    _, started, _, _ = _days(AHEAD, 32, **seen)
    assert started[0] == (day, kind)


def test_a_clock_that_is_wrong_just_now_starts_nothing_and_forgets_nothing() -> None:
    sane = replace(SERVING, last_training=NOW, monitored=NOW)
    back = decide(SPEC, sane, Observed(T0, clock_went_backwards=True, monitoring=monitored(T0, **BAD)))
    assert back.decisions == () or {one.kind for one in back.decisions} == {"wait"}
    assert back.state.set_back == T0
    again = decide(SPEC, back.state, Observed(NOW + HOUR))
    assert (again.state.set_back, again.state.monitored) == (None, NOW)
    assert "clock" not in again.hold


def test_a_release_that_began_in_the_false_time_says_what_ends_it() -> None:
    state = replace(SERVING, release=shadowing(started=FALSE, phase_started=FALSE))
    outcome = decide(SPEC, state, Observed(NOW))
    assert "The release holds until then; `trimtab promote` or `trimtab rollback` ends it." in outcome.hold


def test_quality_of_a_champion_of_the_false_time_counts_again() -> None:
    state = replace(SERVING, champion_since=FALSE, last_training=NOW - 8 * DAY)
    state = decide(SPEC, state, Observed(NOW)).state
    seen = monitored(NOW + DAY, **BAD)
    bad = Observed(NOW + DAY, monitoring=seen, quality=live(0.5, labels_until=NOW, version=""))
    assert [one.kind for one in decide(SPEC, state, bad).decisions] == ["retrain"]
