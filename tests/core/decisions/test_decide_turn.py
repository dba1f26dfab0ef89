"""Whole turns: wishes, trained versions, the way back, alarms, monitoring."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from decision_cases import (
    CAUSE,
    DAY,
    HOUR,
    SERVING,
    T0,
    TEN_POINTS_WORSE,
    comparison,
    live,
    monitored,
    seen,
    shadowing,
    spec,
)

from trimtab.decisions.observed import FeatureDrift, Observed, RunSeen, ServerSeen, UnseenClass, WishSeen
from trimtab.decisions.state import (
    NOBODY,
    Count,
    Handled,
    LoopState,
    Rejected,
    RoutesWanted,
    Training,
    routes_of,
    versions_of,
)
from trimtab.decisions.training import MOST_ATTEMPTS, MOST_RESUMES
from trimtab.decisions.turn import decide

SPEC = spec()
TRAINING = replace(SERVING, training=Training("training-2", CAUSE, T0), trainings=2)
READY = {"1": ServerSeen("ready"), "2": ServerSeen("ready")}


def finished(verdict="pass", version="2", key="training-2", state="SUCCEEDED", **more) -> Observed:
    output = {"version": version, "digest": "sha256:ab", "verdict": verdict, "evidence": '{"reasons": ["accuracy .6"]}'}
    return Observed(T0 + HOUR, training=RunSeen(key, state, output if state == "SUCCEEDED" else {}, "boom"), **more)


def wish(kind, version="", **more) -> Observed:
    return Observed(T0 + HOUR, wishes=(WishSeen(7, kind, version, "anna"),), **more)


def kinds(outcome):
    return [decision.kind for decision in outcome.decisions]


def test_from_nothing_the_first_version_is_trained_and_serves():
    started = decide(SPEC, LoopState(), Observed(T0))
    assert kinds(started) == ["retrain"]
    assert started.state.training.run_key == "training-1"
    assert decide(SPEC, started.state, Observed(T0)).decisions == ()
    done = decide(SPEC, started.state, finished(version="1", key="training-1"))
    assert kinds(done) == ["promote"]
    assert routes_of(done.state) == RoutesWanted("1", None, 0, 0)
    assert "nothing to compare it with" in done.decisions[0].sentence
    assert done.decisions[0].evidence["evaluation"] == {"reasons": ["accuracy .6"]}
    assert done.state.retrainings == ()  # the first training is no retraining


@pytest.mark.parametrize("verdict", ["fail", "insufficient evidence"])
def test_a_first_version_that_did_not_show_what_was_promised_does_not_serve_unless_a_person_says_so(verdict):
    started = decide(SPEC, LoopState(), Observed(T0)).state
    rejected = decide(SPEC, started, finished(verdict, "1", "training-1"))
    assert kinds(rejected) == ["reject", "wait"]
    assert "accuracy .6" in rejected.decisions[0].sentence
    assert routes_of(rejected.state).stable is None
    asked = decide(SPEC, rejected.state, wish("promote", "1"))
    assert kinds(asked) == ["promote"]
    assert (asked.state.champion, asked.state.rejected) == ("1", ())


def test_where_nothing_was_promised_a_small_holdout_does_not_keep_the_first_version_from_serving():
    free = spec(scope={"problem": "classification"})
    started = decide(free, LoopState(), Observed(T0)).state
    assert decide(free, started, finished("insufficient evidence", "1", "training-1")).state.champion == "1"
    assert decide(free, started, finished("fail", "1", "training-1")).state.champion is None


def test_a_passed_version_is_released_beside_the_champion():
    outcome = decide(SPEC, TRAINING, finished())
    assert kinds(outcome) == ["start"]
    assert routes_of(outcome.state) == RoutesWanted("1", "2", 0, 100)
    assert versions_of(outcome.state, keep_previous=False) == ("1", "2")
    assert outcome.decisions[0].cause == CAUSE.key


@pytest.mark.parametrize("verdict", ["fail", "insufficient evidence"])
def test_a_version_that_did_not_pass_is_rejected(verdict):
    outcome = decide(SPEC, TRAINING, finished(verdict))
    assert kinds(outcome) == ["reject"]
    assert outcome.state.training is None
    assert routes_of(outcome.state) == RoutesWanted("1", None, 0, 0)


def test_a_failed_run_is_tried_again_and_then_given_up():
    again = decide(SPEC, TRAINING, finished(state="FAILED"))
    assert kinds(again) == ["retry-training"]
    assert again.state.training.run_key == "training-2-attempt-2"
    assert decide(SPEC, again.state, finished(state="FAILED")).decisions == ()  # still the view of the first attempt
    last = decide(SPEC, again.state, finished(state="FAILED", key="training-2-attempt-2"))
    over = decide(SPEC, last.state, finished(state="FAILED", key="training-2-attempt-3"))
    assert kinds(over) == ["training-failed"]
    assert "boom" in over.decisions[0].sentence
    assert over.state.training is None


def test_a_run_that_was_refused_is_not_tried_again():
    reason = "ingest failed: task ingest: exit code 1: refused: column 'y' has no value in any row."
    observed = Observed(T0 + HOUR, training=RunSeen("training-2", "FAILED", reason=reason))
    over = decide(SPEC, TRAINING, observed)
    assert kinds(over) == ["training-failed"]
    assert "after 1 attempt: ingest failed" in over.decisions[0].sentence
    assert ".." not in over.decisions[0].sentence


def test_an_interrupted_run_is_resumed_but_not_for_ever():
    state, said = TRAINING, []
    for _ in range(20):
        outcome = decide(SPEC, state, finished(state="INTERRUPTED", key=state.training.run_key))
        said += kinds(outcome)
        state = outcome.state
        if state.training is None:
            break
    assert said == ["retry-training"] * ((MOST_RESUMES + 1) * MOST_ATTEMPTS - 1) + ["training-failed"]


@pytest.mark.parametrize("output", [{}, {"version": "2"}, {"version": "2", "verdict": "splendid"}])
def test_a_run_that_succeeds_without_a_verdict_releases_nothing(output):
    observed = Observed(T0 + HOUR, training=RunSeen("training-2", "SUCCEEDED", output))
    assert kinds(decide(SPEC, TRAINING, observed)) == ["training-failed"]


def test_a_person_may_retrain_during_a_release_and_the_new_version_takes_its_place():
    state = replace(SERVING, release=shadowing(), retrainings=tuple([T0] * 20))
    asked = decide(SPEC, state, wish("retrain"))
    assert kinds(asked) == ["retrain"]
    assert asked.state.training.cause.key == "person:7"
    assert kinds(decide(SPEC, asked.state, wish("retrain"))) == ["refuse"]
    outcome = decide(SPEC, asked.state, finished(version="3"))
    assert kinds(outcome) == ["roll-back", "start"]
    assert routes_of(outcome.state).candidate == "3"


def test_a_person_promotes_a_candidate_that_is_ready():
    state = replace(SERVING, release=shadowing())
    refused = decide(SPEC, state, wish("promote", servers={"2": ServerSeen("starting", 0, "loading")}))
    assert kinds(refused) == ["refuse"]
    assert "loading" in refused.decisions[0].sentence
    assert refused.answered == (7,)
    outcome = decide(SPEC, state, wish("promote", servers=READY))
    assert kinds(outcome) == ["promote"]
    assert (outcome.state.champion, outcome.state.previous) == ("2", "1")
    assert outcome.decisions[0].wish == 7


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ("promote", "", "name a version"),
        ("promote", "1", "serves already"),
        ("promote", "9", "neither being released"),
        ("rollback", "", "no version to go back to"),
        ("rollback", "9", "does not serve"),
        ("dance", "", "a wish is promote, rollback or retrain"),
    ],
)
def test_wishes_that_cannot_be_met(kind, version, words):
    outcome = decide(SPEC, SERVING, wish(kind, version))
    assert kinds(outcome) == ["refuse"]
    assert words in outcome.decisions[0].sentence
    assert (outcome.state, outcome.answered) == (SERVING, (7,))


def test_a_rejected_version_that_a_person_wants_is_released_not_promoted():
    state = replace(SERVING, rejected=(Rejected("2", T0, "no"),))
    outcome = decide(SPEC, state, wish("promote", "2"))
    assert kinds(outcome) == ["start"]
    assert routes_of(outcome.state) == RoutesWanted("1", "2", 0, 100)
    assert outcome.state.rejected == ()


def test_rolling_back_a_release_returns_all_traffic_at_once():
    state = replace(SERVING, release=shadowing(phase="canary", candidate_percent=50, mirror_percent=0))
    outcome = decide(SPEC, state, wish("rollback"))
    assert kinds(outcome) == ["roll-back"]
    assert routes_of(outcome.state) == RoutesWanted("1", None, 0, 0)


def test_the_way_back_is_instant_when_the_version_before_is_warm():
    state = replace(SERVING, champion="2", previous="1")
    outcome = decide(SPEC, state, wish("rollback", servers=READY))
    assert kinds(outcome) == ["roll-back"]
    assert (outcome.state.champion, outcome.state.previous) == ("1", None)
    assert "anna asked" in outcome.decisions[0].sentence


def test_the_way_back_waits_for_a_cold_server_and_does_not_drop_a_request():
    state = replace(SERVING, champion="2", previous="1")
    asked = decide(SPEC, state, wish("rollback"))
    assert kinds(asked) == ["hold"]
    assert routes_of(asked.state).stable == "2"
    assert versions_of(asked.state, keep_previous=False) == ("2", "1")
    assert decide(SPEC, asked.state, Observed(T0 + HOUR, servers={"1": ServerSeen("starting")})).decisions == ()
    back = decide(SPEC, asked.state, Observed(T0 + HOUR, servers=READY))
    assert (kinds(back), back.state.champion) == (["roll-back"], "1")
    lost = decide(SPEC, asked.state, Observed(T0 + HOUR, servers={"1": ServerSeen("failed", 0, "gone")}))
    assert (kinds(lost), lost.state.champion, lost.state.returning) == (["refuse"], "2", "")


def test_a_lost_champion_gives_way_to_the_one_before_and_a_release_starts_anew():
    state = replace(SERVING, champion="3", previous="1", release=shadowing(phase="canary", candidate_percent=25))
    lost = {**READY, "3": ServerSeen("failed", 0, "digest")}
    outcome = decide(SPEC, state, Observed(T0 + HOUR, servers=lost))
    assert kinds(outcome) == ["roll-back"]
    assert routes_of(outcome.state) == RoutesWanted("1", "2", 0, 100)
    assert "digest" in outcome.decisions[0].sentence


def test_a_release_is_promoted_and_the_champion_before_is_remembered():
    state = replace(
        SERVING,
        release=shadowing(phase="canary", candidate_percent=50, mirror_percent=0),
        handled=(Handled("drift", "k", T0, 3),),
    )
    outcome = decide(SPEC, state, seen())
    assert kinds(outcome) == ["promote"]
    assert (outcome.state.champion, outcome.state.previous, outcome.state.release) == ("2", "1", None)
    assert outcome.state.handled == ()  # five points better: drift may be acted on again without a wait
    assert outcome.decisions[0].evidence["requests"] == 1000


def test_a_release_rolled_back_for_quality():
    state = replace(SERVING, release=shadowing())
    outcome = decide(SPEC, state, seen(comparison=comparison(TEN_POINTS_WORSE, labels_until=T0 + HOUR)))
    assert kinds(outcome) == ["roll-back"]
    assert outcome.decisions[0].labels_until == T0 + HOUR
    assert outcome.state.rejected[-1].version == "2"


def test_labels_from_after_now_are_not_looked_at():
    now = T0 + 30 * DAY
    state = replace(SERVING, release=shadowing())
    later = now + HOUR
    early = seen(
        now,
        comparison=comparison(TEN_POINTS_WORSE, labels_until=later),
        quality=live(0.5, labels_until=later),
        monitoring=monitored(now, unseen=(UnseenClass("new", 500, 0.5),), labels_until=later),
    )
    outcome = decide(SPEC, state, early)
    assert outcome.decisions == ()
    assert "0 of 100 matured labels" in outcome.hold
    assert decide(SPEC, SERVING, early).decisions == ()


def test_alarms_are_told_when_they_go_up_and_when_they_go_down():
    now = T0 + DAY
    up = Observed(now, monitoring=monitored(now, alarms={"drift": "weight drifted"}))
    raised = decide(SPEC, SERVING, up)
    assert [decision.sentence for decision in raised.decisions] == ["Alarm: weight drifted."]
    assert decide(SPEC, raised.state, up).decisions == ()
    unknown = Observed(now, monitoring=monitored(now, verdict="insufficient evidence"))
    assert decide(SPEC, raised.state, unknown).decisions == ()
    assert kinds(decide(SPEC, raised.state, Observed(now, monitoring=monitored(now)))) == ["all-clear"]


def test_monitoring_runs_when_due_one_at_a_time():
    assert decide(SPEC, SERVING, Observed(T0 + 23 * HOUR)).state.monitoring is None
    due = decide(SPEC, SERVING, Observed(T0 + DAY)).state
    assert (due.monitoring.key, due.monitored) == ("monitoring-1", T0 + DAY)
    assert decide(SPEC, due, Observed(T0 + 5 * DAY)).state.monitorings == 1
    ended = decide(SPEC, due, Observed(T0 + DAY, monitoring_run=RunSeen("monitoring-1", "SUCCEEDED"))).state
    assert ended.monitoring is None
    failed = decide(
        SPEC, due, Observed(T0 + 2 * DAY, monitoring_run=RunSeen("monitoring-1", "FAILED", {}, "disk full"))
    )
    assert kinds(failed) == ["monitoring-failed"]
    assert failed.state.monitoring.key == "monitoring-2"
    assert decide(SPEC, LoopState(), Observed(T0 + DAY)).state.monitoring is None


def test_a_cause_that_must_wait_is_told_once():
    now = T0 + 2 * DAY
    drifted = Observed(now, monitoring=monitored(now, drift=(FeatureDrift("weight", True, 1.0),)))
    told = decide(SPEC, SERVING, drifted)
    assert kinds(told) == ["wait"]
    assert "cooldown" in told.decisions[0].sentence
    again = decide(SPEC, told.state, replace(drifted, now=now + HOUR))
    assert again.decisions == ()
    assert again.hold == told.decisions[0].sentence


def test_state_observed_and_decisions_survive_json():
    state = replace(TRAINING, release=shadowing(), handled=(Handled("drift", "k", T0, 1),), retrainings=(T0,))
    observed = seen(wishes=(WishSeen(1, "promote"),), training=RunSeen("training-2", "RUNNING"), quality=live(0.9))
    outcome = decide(SPEC, state, observed)
    for value in (state, observed, outcome.state, *outcome.decisions):
        assert type(value).from_json(json.loads(json.dumps(value.to_json(), allow_nan=False))) == value


def test_a_monitoring_run_is_told_of_the_requests_that_its_window_lost() -> None:
    every = spec(monitoring={"every": "1d", "window": "2d"})
    state = replace(SERVING, monitored=T0)

    def due(state: LoopState, day: int, failures: int, epoch: str = "e", nobody: int = 0) -> LoopState:
        traffic = {"1": Count(1000 * day, failures, epoch), NOBODY: Count(nobody, nobody, epoch)}
        now = T0 + day * DAY
        done = RunSeen(state.monitoring.key, "SUCCEEDED") if state.monitoring else None
        return decide(every, state, Observed(now, traffic=traffic, monitoring_run=done)).state

    told = []
    for day, failures, epoch, nobody in ((1, 5, "e", 0), (2, 8, "e", 0), (3, 8, "e", 40), (4, 2, "anew", 1)):
        state = due(state, day, failures, epoch, nobody)
        assert state.monitoring is not None
        told.append(state.monitoring.failures)
    assert told == [5, 8, 43, 43]  # 40 and 1 of them found no version at all
