"""From rows to a comparison: each row counted once, in the place where it belongs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

import numpy as np
import pytest
from decision_cases import HOUR, T0, shadowing, spec
from sklearn.metrics import balanced_accuracy_score

from trimtab.decisions.compare import Answered, compare
from trimtab.decisions.judgement import judge_merit
from trimtab.decisions.observed import Paired, Sample
from trimtab.decisions.state import Step
from trimtab.spec.document import LoopSpec

EAST = timezone(timedelta(hours=2))
RELEASE = shadowing(steps=(Step(5, T0 + HOUR), Step(50, (T0 + 2 * HOUR).astimezone(EAST))))


def rows(*cases, **more) -> Answered:
    """(hours, truth, stable, candidate, by_candidate) a row."""
    start = np.datetime64(T0.replace(tzinfo=None))
    hours, truth, stable, candidate, by_candidate = zip(*cases, strict=True) if cases else ((),) * 5
    return Answered(
        time=np.array([start + np.timedelta64(int(hour * 60), "m") for hour in hours], dtype="datetime64[us]"),
        truth=np.array(truth, dtype=object),
        stable=np.array(stable, dtype=object),
        candidate=np.array(candidate, dtype=object),
        by_candidate=np.array(by_candidate, dtype=bool),
        labels_until=T0 + 5 * HOUR,
        **more,
    )


def regression(metric: str) -> LoopSpec:
    return LoopSpec.model_validate(
        {
            **spec().model_dump(by_alias=True, mode="json"),
            "scope": {"problem": "regression", "metrics": [{"name": metric}]},
        }
    )


def test_every_row_has_one_place():
    found = compare(
        spec(),
        RELEASE,
        rows(
            (0.1, "a", "a", "a", False),
            (0.2, "a", "a", "b", False),
            (0.3, "a", "b", "a", False),
            (0.4, "a", "b", "b", False),
            (0.5, "a", "a", None, False),  # the mirror was lost before any step: nothing to compare with
            (1.5, "a", "a", None, False),
            (1.6, "a", "b", None, False),
            (1.7, "a", None, "a", True),
            (2.5, "a", None, "b", True),
        ),
    )
    assert found.paired == Paired(4, 1, 1, 1)
    assert [(split.percent, split.stable, split.candidate) for split in found.splits] == [
        (5, Sample(2, 1, 1), Sample(1, 1, 1)),
        (50, Sample(), Sample(1, 0, 0)),
    ]
    assert (found.metric, found.margin, found.labels_until) == ("accuracy", 0.02, T0 + 5 * HOUR)


def test_no_rows():
    found = compare(spec(), RELEASE, rows())
    assert (found.paired, found.labels_until) == (Paired(), None)
    assert judge_merit(spec().release, found).labels == 0


def test_balanced_accuracy_is_compared_as_scikit_learn_measures_it():
    document = spec(scope={"problem": "classification", "metrics": [{"name": "balanced_accuracy"}]})
    random = np.random.default_rng(0)
    truth = random.choice(["a", "b", "c"], p=[0.8, 0.15, 0.05], size=400)
    stable, candidate = (np.where(random.random(400) < right, truth, "a") for right in (0.7, 0.8))
    found = compare(
        document, RELEASE, rows(*((0.1, *row, False) for row in zip(truth, stable, candidate, strict=True)))
    )
    expected = balanced_accuracy_score(truth, candidate) - balanced_accuracy_score(truth, stable)
    assert found.differences.mean == pytest.approx(expected)
    assert found.paired is None


@pytest.mark.parametrize(("metric", "difference"), [("mae", 1.0), ("rmse", 3.0), ("r2", 3.0)])
def test_errors_are_compared_so_that_above_nought_is_better(metric, difference):
    cases = [(0.1, 10.0 + index, 12.0 + index, 11.0 + index, False) for index in range(50)]
    found = compare(regression(metric), RELEASE, rows(*cases))
    assert (found.differences.n, found.differences.mean) == (50, pytest.approx(difference))
    expected = {"mae": 0.02, "rmse": 2.02**2 - 4, "r2": 0.02 * np.var(np.arange(50))}[metric]
    assert found.margin == pytest.approx(expected)


def test_a_regression_that_got_surely_worse_is_seen():
    random = np.random.default_rng(0)
    truth = random.normal(size=400)
    cases = [(0.1, one, one + random.normal(), one + 2 * random.normal(), False) for one in truth]
    merit = judge_merit(regression("mae").release, compare(regression("mae"), RELEASE, rows(*cases)))
    assert merit.worse
    assert merit.sentence.startswith("mae worse by 0.")
    assert ", surely worse by " in merit.sentence
    cases = [(0.1, one, two, three, False) for _, one, three, two, _ in cases]  # each has the other's answers
    merit = judge_merit(regression("mae").release, compare(regression("mae"), RELEASE, rows(*cases)))
    assert merit.sentence.startswith("mae better by 0.")


def test_log_loss_is_compared_by_probabilities_where_they_were_logged():
    document = spec(scope={"problem": "classification", "metrics": [{"name": "log_loss"}]})
    cases = [(0.1, "a", "a", "a", False)] * 40
    without = compare(document, RELEASE, rows(*cases))
    assert (without.measure, without.paired) == ("right answers, as no probabilities were logged", Paired(40, 40, 0, 0))
    found = compare(
        document,
        RELEASE,
        replace(rows(*cases), stable_probability=np.full(40, 0.5), candidate_probability=np.full(40, 0.25)),
    )
    assert found.differences.mean == pytest.approx(-np.log(2))
