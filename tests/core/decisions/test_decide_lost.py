"""A champion that cannot be served: it is said, a new version is trained, and it serves as soon as it can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decision_cases import CAUSE, DAY, HOUR, SERVING, T0, seen, shadowing, spec

from trimtab.decisions.lost import PATIENCE
from trimtab.decisions.observed import Observed, RunSeen, ServerSeen, WishSeen
from trimtab.decisions.state import Count, Handled, Training
from trimtab.decisions.turn import decide

SPEC = spec()
LATER = T0 + 2 * HOUR  # inside the cooldown
CORRUPT = {"1": ServerSeen("failed", 2, "model.joblib was cut short")}
LOST = Observed(LATER, servers=CORRUPT)
TRAINING = replace(SERVING, training=Training("training-2", CAUSE, T0), trainings=2, unserved="1")


def _kinds(outcome):
    return [decision.kind for decision in outcome.decisions]


def test_it_is_said_once_and_a_training_starts_if_it_lasts():
    tight = spec(retraining={"budget": {"runs": 0}, "causes": []})
    outcome = decide(tight, SERVING, LOST)
    assert _kinds(outcome) == ["unserved"]
    assert "Version 1 cannot be served" in outcome.decisions[0].sentence
    assert "model.joblib was cut short" in outcome.decisions[0].sentence
    assert _kinds(decide(tight, outcome.state, LOST)) == []
    later = decide(tight, outcome.state, replace(LOST, now=LATER + PATIENCE))
    assert _kinds(later) == ["retrain"]
    assert _kinds(decide(tight, later.state, replace(LOST, now=LATER + 2 * PATIENCE))) == []
    healed = decide(tight, outcome.state, replace(LOST, servers={"1": ServerSeen("ready")}))
    assert _kinds(healed) == ["served"]
    assert (healed.state.unserved, healed.state.unserved_since) == ("", None)


@pytest.mark.parametrize("servers", [{}, {"1": ServerSeen("starting")}, {"1": ServerSeen("ready")}])
def test_a_server_that_may_come_is_not_lost(servers):
    assert _kinds(decide(SPEC, SERVING, Observed(LATER, servers=servers))) == []


def test_with_a_way_back_the_loop_goes_back_instead():
    outcome = decide(SPEC, replace(SERVING, previous="0"), LOST)
    assert outcome.state.returning
    assert _kinds(outcome) == []


def test_trainings_for_it_back_off_when_they_do_not_help():
    tried = replace(SERVING, unserved="1", unserved_since=T0, handled=(Handled("unserved", "k", T0, 1),))
    assert _kinds(decide(SPEC, tried, LOST)) == ["wait"]
    assert _kinds(decide(SPEC, tried, replace(LOST, now=T0 + 8 * DAY))) == ["retrain"]


def _judged(verdict, state=TRAINING, section=SPEC):
    run = RunSeen("training-2", "SUCCEEDED", {"version": "2", "verdict": verdict})
    return decide(section, state, replace(LOST, training=run))


def test_the_new_version_serves_at_once():
    outcome = _judged("pass")
    assert _kinds(outcome) == ["promote"]
    assert "Version 2 serves at once: version 1 cannot be served" in outcome.decisions[0].sentence
    assert (outcome.state.champion, outcome.state.previous, outcome.state.release) == ("2", "1", None)


def test_a_version_that_fails_its_gates_is_a_persons_choice():
    outcome = _judged("fail")
    assert "`trimtab promote 2` serves it even so" in outcome.decisions[0].sentence
    wished = decide(SPEC, outcome.state, replace(LOST, wishes=(WishSeen(1, "promote", "2", "ana"),)))
    assert wished.state.champion == "2"
    assert wished.state.rejected == ()


def test_nobody_says_that_it_serves_on():
    outcome = decide(SPEC, TRAINING, replace(LOST, training=RunSeen("training-2", "FAILED", reason="a: refused: b")))
    said = outcome.decisions[0].sentence
    assert "serves on" not in said
    assert "No version serves, as the server of version 1 failed" in said


def test_a_release_does_not_wait_for_a_stable_version_that_cannot_answer():
    state = replace(SERVING, unserved="1", release=shadowing())
    nothing = {"comparison": None, "traffic": {"2": Count()}, "latency": {}}
    starting = seen(T0, servers={**CORRUPT, "2": ServerSeen("starting")}, **nothing)
    assert decide(SPEC, state, starting).state.release is not None
    outcome = decide(SPEC, state, seen(T0, servers={**CORRUPT, "2": ServerSeen("ready")}, **nothing))
    assert _kinds(outcome) == ["promote"]
    assert outcome.state.champion == "2"
    assert "nothing else answers" in outcome.decisions[0].sentence
    failed = decide(SPEC, state, seen(T0, servers={**CORRUPT, "2": ServerSeen("failed")}, **nothing))
    assert "roll-back" in _kinds(failed)
