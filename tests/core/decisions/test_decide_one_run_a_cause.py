"""One run a standing cause, then back-off: whatever the verdicts between say, short of one that clears it."""

from __future__ import annotations

from dataclasses import replace

from decision_cases import DAY, HOUR, SERVING, T0, live, monitored, spec
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.decisions.lost import watch
from trimtab.decisions.observed import FeatureDrift, MonitoringSeen, Observed, ServerSeen, UnseenClass
from trimtab.decisions.retraining import MOST_DOUBLINGS, cleared, judge
from trimtab.decisions.training import launch

SPEC = spec(retraining={"cooldown": "2d", "budget": {"runs": 1000, "per": "1y"}})
COOLDOWN = SPEC.retraining.cooldown
DRIFTED = (FeatureDrift("weight", True, 1.0),)
STILL = (FeatureDrift("weight", False, 1.0),)
A, B = UnseenClass("A", 40, 0.1), UnseenClass("B", 40, 0.1)
FEW = UnseenClass("A", 3, 0.001)
WORTH = ("drift", "new-class:A", "new-class:B", "quality:accuracy", "unserved")


def _most_runs(days: float) -> int:
    """Runs that the back-off allows one subject in so many days: at 0, then after 1, 2, 4 ... 16 cooldowns."""
    runs, at, tries = 0, 0.0, 0
    while at <= days:
        runs, tries = runs + 1, tries + 1
        at += COOLDOWN / DAY * 2 ** min(tries - 1, MOST_DOUBLINGS)
    return runs


def _runs(seen: list[Observed]) -> list[str]:
    """The subjects of the runs that a sequence of turns starts when each of them is rejected at once."""
    state, started = SERVING, []
    for observed in seen:
        state, _ = watch(state, observed)
        state = replace(state, handled=cleared(SPEC, state, observed))
        found = judge(SPEC, state, observed)
        if found.retrain:
            assert found.cause is not None
            started.append(found.cause.subject)
            state = replace(launch(SPEC, state, observed, found.cause), training=None)
    return started


def _turns(hours: list[int], verdicts: list[MonitoringSeen | None], **more: object) -> list[Observed]:
    now, turns = T0 + 10 * DAY, []
    for step, verdict in zip(hours, verdicts, strict=True):
        now += step * HOUR
        timed = replace(verdict, time=now) if verdict is not None else None
        turns.append(Observed(now, monitoring=timed, **more))  # type: ignore[arg-type]
    return turns


def _insufficient(alarms: bool) -> MonitoringSeen:
    """Too little traffic to judge drift; another alarm may be up all the same."""
    verdict = "alarm" if alarms else "insufficient evidence"
    return monitored(T0, verdict=verdict, drift=STILL, drift_verdict="insufficient evidence", labels=5)


STEPS = st.lists(st.integers(1, 72), min_size=1, max_size=120)


def _sequences(*verdicts: MonitoringSeen | None) -> st.SearchStrategy[list[Observed]]:
    chosen = st.lists(st.sampled_from(verdicts), min_size=120, max_size=120)
    return st.builds(lambda hours, seen: _turns(hours, seen[: len(hours)]), STEPS, chosen)


def _check(turns: list[Observed]) -> None:
    started = _runs(turns)
    days = (turns[-1].now - turns[0].now) / DAY
    for subject in set(started):
        assert subject in WORTH
        assert started.count(subject) <= _most_runs(days), subject


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_sequences(monitored(T0, drift=DRIFTED), _insufficient(False), _insufficient(True), None))
def test_drift_that_is_not_judged_between_is_the_same_drift(turns: list[Observed]) -> None:
    _check(turns)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    _sequences(
        monitored(T0, unseen=(A, B)),
        monitored(T0, unseen=(A,), labels=50),  # too few labels to show that B is gone
        monitored(T0, unseen=(B,), labels=50),
        monitored(T0, unseen=(B, FEW)),
        monitored(T0, unseen=(FEW, replace(FEW, label="B"))),
        monitored(T0, labels=5),
        None,
    )
)
def test_classes_that_come_and_go_in_sets_are_the_same_classes(turns: list[Observed]) -> None:
    _check(turns)


def test_a_set_that_alternates_is_no_new_occasion() -> None:
    sets = [monitored(T0, unseen=(A,), labels=50), monitored(T0, unseen=(A, B), labels=50)]
    turns = _turns([6] * 40, sets * 20)  # ten days: five cooldowns
    assert _runs(turns) == ["new-class:A", "new-class:A", "new-class:B", "new-class:A", "new-class:B"]
    _check(turns)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(STEPS, st.lists(st.sampled_from(["bad", "unsure", "few", "none"]), min_size=120, max_size=120))
def test_quality_that_is_not_shown_to_hold_is_the_same_cause(hours: list[int], shown: list[str]) -> None:
    turns = []
    for turn, what in zip(_turns(hours, [None] * len(hours)), shown, strict=False):
        values = {"bad": (0.6, 400), "unsure": (0.79, 400), "few": (0.95, 20)}
        quality = live(*values[what], half=0.03, labels_until=turn.now) if what in values else None
        turns.append(replace(turn, quality=quality))
    _check(turns)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(STEPS, st.lists(st.sampled_from(["failed", "starting"]), min_size=120, max_size=120))
def test_a_server_that_fails_again_and_again_starts_few_runs(hours: list[int], states: list[str]) -> None:
    turns = _turns(hours, [None] * len(hours))
    _check(
        [
            replace(turn, servers={"1": ServerSeen(state)})  # type: ignore[arg-type]
            for turn, state in zip(turns, states, strict=False)
        ]
    )


def test_what_is_shown_to_be_over_starts_afresh() -> None:
    drifted, stable = monitored(T0, drift=DRIFTED), monitored(T0, drift=STILL)
    assert _runs(_turns([1, 24, 48], [drifted, stable, drifted])) == ["drift", "drift"]
    unsure = [_insufficient(True)] * 3
    assert _runs(_turns([1, 24, 12, 11], [drifted, *unsure])) == ["drift"]
    gone = monitored(T0, labels=400)
    assert _runs(_turns([1, 24, 48], [monitored(T0, unseen=(A,)), gone, monitored(T0, unseen=(A,))])) == [
        "new-class:A",
        "new-class:A",
    ]
