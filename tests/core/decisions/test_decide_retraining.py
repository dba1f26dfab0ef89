"""When to train again: causes, and every reason to wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from decision_cases import CAUSE, DAY, HOUR, SERVING, T0, live, monitored, shadowing, spec

from trimtab.decisions.observed import Estimate, FeatureDrift, Observed, Quality, UnseenClass
from trimtab.decisions.retraining import cleared, judge
from trimtab.decisions.state import Handled, Training
from trimtab.decisions.training import launch
from trimtab.decisions.turn import decide
from trimtab.spec.document import LoopSpec

SPEC = spec()
LATER = T0 + 30 * DAY
DRIFT = (FeatureDrift("weight", True, 0.6), FeatureDrift("plot", False, 0.4))
UNUSED_DRIFT = (FeatureDrift("weight", False, 0.98), FeatureDrift("plot", True, 0.02))
BAILEYI = (UnseenClass("Chaetodipus", 40, 0.1),)


def at(now=LATER, **more) -> Observed:
    return Observed(now, **more)


@pytest.mark.parametrize(
    ("observed", "subject", "words"),
    [
        (at(quality=live(0.7, labels_until=LATER)), "quality:accuracy", "surely below the 0.8 promised"),
        (at(quality=live(0.82, half=0.01)), "quality:accuracy", "than the 0.9 of its own hold-out"),
        (at(monitoring=monitored(LATER, drift=DRIFT)), "drift", "weight (60 % of what the model uses)"),
        (at(monitoring=monitored(LATER, unseen=BAILEYI)), "new-class:Chaetodipus", "40 labels, 10 %"),
        (at(monitoring=monitored(LATER, drift=DRIFT), quality=live(0.81, half=0.05)), "drift", "weight"),
    ],
)
def test_causes(observed, subject, words):
    found = judge(SPEC, SERVING, observed)
    assert found.retrain
    assert found.cause.subject == subject
    assert words in found.sentence


@pytest.mark.parametrize(
    "observed",
    [
        at(),
        at(quality=live(0.79, half=0.1)),  # below the promise, but not surely
        at(quality=live(0.87)),  # below the hold-out, but not by so much
        at(quality=live(0.5, n=99)),  # too few labels
        at(quality=live(0.5, version="0")),  # about another version
        at(monitoring=monitored(T0 - DAY, drift=DRIFT, unseen=BAILEYI)),  # about the champion before
        at(monitoring=monitored(LATER, drift=UNUSED_DRIFT)),
        at(monitoring=monitored(LATER, unseen=(UnseenClass("rare", 19, 0.5), UnseenClass("thin", 50, 0.01)))),
    ],
)
def test_what_is_no_cause(observed):
    assert judge(SPEC, SERVING, observed).cause is None


def test_drift_waits_while_labels_of_the_same_traffic_show_no_harm():
    quality = live(0.9, half=0.02, rows_until=LATER - DAY, labels_until=LATER)
    found = judge(SPEC, SERVING, at(monitoring=monitored(LATER, drift=DRIFT), quality=quality))
    assert (found.retrain, found.why_not) == (False, "harmless")
    assert "labels of the same traffic show no harm: accuracy 0.9" in found.sentence
    stale = replace(quality, rows_until=LATER - 6 * DAY)
    assert judge(SPEC, SERVING, at(monitoring=monitored(LATER, drift=DRIFT), quality=stale)).retrain


def test_an_error_that_grows_is_a_cause_too():
    regression = LoopSpec.model_validate(
        {
            **SPEC.model_dump(by_alias=True, mode="json"),
            "scope": {"problem": "regression", "metrics": [{"name": "mae", "max": 5}]},
        }
    )
    bad = Quality({"mae": Estimate(6, 5.5, 6.5, 400)}, {"mae": Estimate(4, 3.9, 4.1, 400)}, version="1")
    assert "surely above the 5 promised" in judge(regression, SERVING, at(quality=bad)).sentence
    worse = replace(bad, live={"mae": Estimate(4.8, 4.6, 4.9, 400)})
    assert "than the 4 of its own hold-out" in judge(regression, SERVING, at(quality=worse)).sentence
    better = replace(bad, live={"mae": Estimate(3, 2.9, 3.1, 400)})
    assert judge(regression, SERVING, at(quality=better)).cause is None


BAD = at(quality=live(0.7, labels_until=LATER))


@pytest.mark.parametrize(
    ("sections", "changes", "observed", "why_not"),
    [
        ({}, {"release": shadowing()}, BAD, "release"),
        ({}, {"last_training": LATER - 6 * DAY}, BAD, "cooldown"),
        ({"retraining": {"budget": {"runs": 2, "per": "1y"}}}, {"retrainings": (T0, T0)}, BAD, "budget"),
        ({}, {}, replace(BAD, clock_went_backwards=True), "clock"),
        ({}, {"handled": (Handled("quality:accuracy", "k", LATER - 8 * DAY, 2),)}, BAD, "backoff"),
        (
            {},
            {"handled": (Handled("quality:accuracy", "k", LATER - 9 * DAY, 1),)},
            at(quality=live(0.7, labels_until=LATER - 10 * DAY)),
            "evidence",
        ),
    ],
)
def test_why_not_now(sections, changes, observed, why_not):
    found = judge(spec(**sections), replace(SERVING, **changes), observed)
    assert (found.retrain, found.why_not) == (False, why_not)
    assert found.sentence.startswith("No training yet, though accuracy is 0.7")


def test_a_run_that_is_under_way_is_no_training_that_waits():
    state = replace(SERVING, training=Training("training-2", CAUSE, T0))
    found = judge(SPEC, state, BAD)
    assert (found.retrain, found.why_not) == (False, "training")
    assert found.sentence.startswith("The training run that is under way may answer this too: accuracy is 0.7")
    hold = decide(SPEC, state, BAD).hold
    assert hold == "The training run training-2 is under way: what it uses has drifted."


@pytest.mark.parametrize(
    ("sections", "changes"),
    [
        ({}, {"release": shadowing(held_since=T0)}),
        ({"retraining": {"budget": {"runs": 2, "per": "10d"}}}, {"retrainings": (T0, T0)}),
        ({}, {"handled": (Handled("quality:accuracy", "k", LATER - 15 * DAY, 2),)}),
        ({}, {"handled": (Handled("drift", "k", LATER - 8 * DAY, 9),)}),
    ],
)
def test_no_hindrance(sections, changes):
    assert judge(spec(**sections), replace(SERVING, **changes), BAD).retrain


def test_only_named_causes_count():
    named = spec(retraining={"causes": ["new-class"]})
    assert judge(named, SERVING, replace(BAD, monitoring=monitored(LATER, drift=DRIFT))).cause is None


def test_one_run_a_cause_however_often_it_is_reported():
    state, runs = SERVING, []
    for hours in range(0, 24 * 60, 6):
        now = LATER + hours * HOUR
        observed = at(now, quality=live(0.7, labels_until=now))
        found = judge(SPEC, state, observed)
        if found.retrain:
            runs.append((hours // 24, found.cause.key))
            state = replace(launch(SPEC, state, observed, found.cause), training=None)  # rejected at once
    assert [day for day, _ in runs] == [0, 7, 21, 49]  # 7 days, then 14, then 28: never a loop
    assert len({key for _, key in runs}) == len(runs)


def test_a_condition_that_is_over_starts_afresh():
    tried = replace(SERVING, handled=(Handled("quality:accuracy", "k", T0, 4), Handled("drift", "k", T0, 4)))
    over = at(quality=live(0.86, labels_until=LATER), monitoring=monitored(LATER))
    assert cleared(SPEC, tried, over) == ()
    assert cleared(SPEC, tried, at()) == tried.handled
    assert cleared(SPEC, tried, replace(BAD, monitoring=monitored(LATER, drift=DRIFT))) == tried.handled
    for unsure in (live(0.79, half=0.1, labels_until=LATER), live(0.84, half=0.1, labels_until=LATER)):
        assert cleared(SPEC, tried, at(quality=unsure)) == tried.handled


def test_the_schedule():
    scheduled = spec(retraining={"causes": ["schedule"], "every": "10d"})
    assert judge(scheduled, SERVING, at(T0 + 9 * DAY)).cause is None
    first, again = (judge(scheduled, SERVING, at(T0 + days * DAY)) for days in (10, 12))
    assert first.retrain
    assert first.cause.key == again.cause.key
    state = launch(scheduled, SERVING, at(T0 + 10 * DAY), first.cause)
    assert judge(scheduled, replace(state, training=None), at(T0 + 20 * DAY)).cause.key != first.cause.key


def test_the_gravest_cause_is_named_and_hides_nothing_that_may_start():
    tried = replace(SERVING, handled=(Handled("quality:accuracy", "k", LATER - 8 * DAY, 3),))
    both = replace(BAD, monitoring=monitored(LATER, unseen=BAILEYI))
    assert judge(SPEC, SERVING, both).cause.kind == "quality"
    assert judge(SPEC, tried, both).cause.kind == "new-class"


def test_budget_is_of_the_time_before_now_only():
    tight = spec(retraining={"budget": {"runs": 1, "per": "30d"}})
    state = replace(SERVING, retrainings=(LATER - timedelta(days=30),))
    assert judge(tight, state, BAD).retrain
