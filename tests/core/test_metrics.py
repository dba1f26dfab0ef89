"""Metrics agree with scikit-learn, and their intervals hold the truth as often as they say."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as reference

from trimtab.errors import DataRefused
from trimtab.stages.metrics import confusion, estimate, reliability, value

_CLASSES = ("a", "b", "c")


def drawn(seed: int, n: int = 300, right: float = 0.7, k: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, prediction (the top score) and scores (n, k)."""
    generator = np.random.default_rng(seed)
    codes = generator.choice(k, n, p=generator.dirichlet(np.full(k, 3.0)))
    scores = generator.dirichlet(np.ones(k), n)
    sure = generator.random(n) < right
    scores[sure] = 0.3 * scores[sure] + 0.7 * np.eye(k)[codes[sure]]
    names = np.array([chr(ord("a") + code) for code in range(k)], dtype=object)
    return names[codes], names[scores.argmax(axis=1)], scores


@pytest.mark.parametrize("seed", range(4))
def test_classification_values_are_scikit_learns(seed: int) -> None:
    truth, prediction, scores = drawn(seed)
    wanted = {
        "accuracy": reference.accuracy_score(truth, prediction),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, prediction),
        "macro_f1": reference.f1_score(truth, prediction, average="macro"),
        "weighted_f1": reference.f1_score(truth, prediction, average="weighted"),
        "log_loss": reference.log_loss(truth, scores, labels=list(_CLASSES)),
    }
    for name, one in wanted.items():
        assert value(name, truth, prediction, scores, _CLASSES) == pytest.approx(one, abs=1e-12), name
        assert estimate(name, truth, prediction, scores, _CLASSES).value == pytest.approx(one, abs=1e-12), name
    names, counts = confusion(truth, prediction)
    assert counts.tolist() == reference.confusion_matrix(truth, prediction, labels=names).tolist()


def test_classes_only_in_truth_or_only_in_predictions_count_as_in_scikit_learn() -> None:
    truth, prediction = np.array(["a", "a", "b", "n"], dtype=object), np.array(["a", "b", "b", "z"], dtype=object)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert value("macro_f1", truth, prediction) == pytest.approx(
            reference.f1_score(truth, prediction, average="macro", zero_division=0)
        )
        assert value("balanced_accuracy", truth, prediction) == pytest.approx(
            reference.balanced_accuracy_score(truth, prediction)
        )
    assert confusion(truth, prediction)[0] == ["a", "b", "n", "z"]


@pytest.mark.parametrize("seed", range(3))
def test_regression_values_are_scikit_learns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.normal(50, 9, 200)
    prediction = truth + generator.normal(1, 3, 200)
    assert value("mae", truth, prediction) == pytest.approx(reference.mean_absolute_error(truth, prediction))
    assert value("rmse", truth, prediction) == pytest.approx(reference.root_mean_squared_error(truth, prediction))
    assert value("r2", truth, prediction) == pytest.approx(reference.r2_score(truth, prediction))


def test_calibration_error_and_reliability_by_hand() -> None:
    scores = np.array([[0.95, 0.05], [0.92, 0.08], [0.35, 0.65], [0.4, 0.6]])
    truth = np.array(["a", "b", "b", "b"], dtype=object)
    prediction = np.array(["a", "a", "b", "b"], dtype=object)
    gaps = 2 / 4 * abs(0.5 - 0.935) + 2 / 4 * abs(1 - 0.625)
    assert value("calibration_error", truth, prediction, scores, ("a", "b")) == pytest.approx(gaps)
    assert reliability(truth, prediction, scores) == [
        {"score": pytest.approx(0.625), "accuracy": 1.0, "n": 2},
        {"score": pytest.approx(0.935), "accuracy": 0.5, "n": 2},
    ]


def test_a_class_the_model_never_saw_costs_much_but_not_infinity() -> None:
    scores = np.array([[1.0, 0.0], [0.9, 0.1]])
    loss = value(
        "log_loss", np.array(["new", "a"], dtype=object), np.array(["a", "a"], dtype=object), scores, ("a", "b")
    )
    assert loss == pytest.approx((-math.log(np.finfo(np.float64).eps) - math.log(0.9)) / 2)


def _class_truth(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = generator.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]).astype(object)
    return truth, np.where(generator.random(n) < 0.75, truth, generator.choice(["a", "b", "c"], n)).astype(object)


def _number_truth(n: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    truth = generator.normal(0, 2, n)
    return truth, truth + generator.normal(0, 1, n)


@pytest.mark.parametrize(
    ("metric", "draw"),
    [
        ("accuracy", _class_truth),
        ("macro_f1", _class_truth),
        ("balanced_accuracy", _class_truth),
        ("weighted_f1", _class_truth),
        ("mae", _number_truth),
        ("rmse", _number_truth),
        ("r2", _number_truth),
    ],
)
def test_intervals_hold_the_true_value_about_as_often_as_they_say(
    metric: str, draw: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
) -> None:
    generator = np.random.default_rng(11)
    true = value(metric, *draw(200_000, generator))
    found = [estimate(metric, *draw(150, generator), confidence=0.9) for _ in range(200)]
    held = sum(one.low <= true <= one.high for one in found) / len(found)
    assert 0.83 <= held <= 0.96, held  # a binomial of 200 at .9 is within ±.064 in 997 of 1000
    wide = estimate(metric, *draw(150, np.random.default_rng(1)), confidence=0.99)
    narrow = estimate(metric, *draw(150, np.random.default_rng(1)), confidence=0.8)
    assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high


def test_the_same_rows_give_the_same_interval() -> None:
    truth, prediction, scores = drawn(5)
    for metric in ("accuracy", "macro_f1", "log_loss", "calibration_error"):
        assert estimate(metric, truth, prediction, scores, _CLASSES) == estimate(
            metric, truth, prediction, scores, _CLASSES
        )


def test_one_row_says_nothing_of_the_spread() -> None:
    one = np.array(["a"], dtype=object)
    assert estimate("macro_f1", one, one) == type(estimate("macro_f1", one, one))(1.0, 0.0, 1.0, 1)
    found = estimate("accuracy", one, one)
    assert found.low < 0.3
    assert found.high == 1
    for metric in ("mae", "rmse"):
        number = estimate(metric, np.array([1.0]), np.array([3.0]))
        assert (number.value, number.low, number.high) == (2, -math.inf, math.inf)


def test_one_class_alone_and_a_constant_label() -> None:
    same = np.full(20, "a", dtype=object)
    for metric in ("accuracy", "macro_f1", "balanced_accuracy", "weighted_f1"):
        assert estimate(metric, same, same).value == 1
    found = estimate("r2", np.full(20, 3.0), np.arange(20.0))
    assert math.isnan(found.value)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_very_many_classes_are_measured_within_memory() -> None:
    names = np.array([f"c{number}" for number in range(1500)], dtype=object)
    found = estimate("macro_f1", names, np.roll(names, 1))
    assert (found.value, found.n) == (0, 1500)


@pytest.mark.parametrize(
    ("metric", "truth", "prediction", "scores", "said"),
    [
        ("accuracy", [], [], None, "over no rows"),
        ("f2", ["a"], ["a"], None, "'f2' is no model metric. Known: accuracy"),
        ("latency_p99_ms", ["a"], ["a"], None, "is no model metric"),
        ("accuracy", ["a", "b"], ["a"], None, "2 labels but 1 predictions"),
        ("log_loss", ["a"], ["a"], None, "needs the scores of every class"),
        ("log_loss", ["a"], ["a"], [[1.0]], r"scores of shape \(1, 1\) for 1 rows and 2 classes"),
        ("calibration_error", ["a"], ["a"], [[math.nan, 1.0]], "no probability"),
        ("log_loss", ["a"], ["a"], [[-3.0, 4.0]], "no probability"),
        ("mae", [1.0, math.nan], [1.0, 2.0], None, "a label is no finite number"),
        ("rmse", [1.0], [math.inf], None, "a prediction is no finite number"),
        ("r2", ["a"], ["b"], None, "a label is no finite number"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    metric: str, truth: list[object], prediction: list[object], scores: list[list[float]] | None, said: str
) -> None:
    arrays = [
        np.array(one, dtype=object if any(isinstance(x, str) for x in one) else float) for one in (truth, prediction)
    ]
    given = np.array(scores) if scores is not None else None
    for measure in (value, estimate):
        with pytest.raises(DataRefused, match=said):
            measure(metric, *arrays, given, ("a", "b"))
