"""From predictions and matured labels to a `Comparison` of candidate and champion on the same traffic: arrays in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.decisions.observed import Comparison, Differences, Paired, Sample, Split
from trimtab.decisions.state import Release
from trimtab.spec.document import LoopSpec

Scores = NDArray[np.float64]

_RIGHT = ("accuracy", "weighted_f1", "calibration_error")
_BALANCED = ("balanced_accuracy", "macro_f1")
_SQUARED = ("rmse", "r2")
_LEAST_PROBABILITY = 1e-6
_ZERO = timedelta(0)


@dataclass(frozen=True)
class Answered:
    """Rows with matured labels since the release started, shape (n,) each.

    `stable` and `candidate` are predictions (labels as strings, or floats), None (NaN for floats) where that version
    saw no such row; `by_candidate` says whose answer the caller got. `stable_probability` and `candidate_probability`
    (0..1) are what each version gave the true class: needed for log_loss only.
    """

    time: NDArray[np.datetime64]  # event times, UTC without zone
    truth: NDArray[Any]
    stable: NDArray[Any]
    candidate: NDArray[Any]
    by_candidate: NDArray[np.bool_]
    labels_until: datetime | None
    stable_probability: Scores | None = None
    candidate_probability: Scores | None = None


def compared_metric(spec: LoopSpec) -> str:
    """The model metric by which versions are compared."""
    return spec.release.roll_back_when.metric or spec.main_metric


def compare(spec: LoopSpec, release: Release, rows: Answered) -> Comparison:
    """Compare row by row; what is compared for metrics that are no mean over rows is said in `measure`.

    accuracy, weighted_f1 and calibration_error by right answers; balanced_accuracy and macro_f1 by right answers with
    every class weighing the same; log_loss, mae, rmse and r2 by their loss (log_loss by right answers where
    probabilities were not logged).
    """
    metric = named = compared_metric(spec)
    if named == "log_loss" and (rows.stable_probability is None or rows.candidate_probability is None):
        metric = "accuracy"
    stable = _scores(metric, rows, rows.stable, rows.stable_probability if metric == "log_loss" else None)
    candidate = _scores(metric, rows, rows.candidate, rows.candidate_probability if metric == "log_loss" else None)
    both = ~np.isnan(stable) & ~np.isnan(candidate)
    counts = metric in _RIGHT
    return Comparison(
        metric=named,
        measure=_measure(metric) + (", as no probabilities were logged" if metric != named else ""),
        margin=_margin(metric, spec.release.roll_back_when.worse_by, rows, stable),
        paired=_paired(stable[both], candidate[both]) if counts else None,
        differences=None if counts else _differences(stable[both], candidate[both]),
        splits=_splits(release, rows, stable, candidate, both),
        labels_until=rows.labels_until if len(rows.truth) else None,
    )


def _measure(metric: str) -> str:
    if metric in _RIGHT:
        return "right answers"
    if metric in _BALANCED:
        return "right answers, every class weighing the same"
    return "squared error" if metric in _SQUARED else metric


def _scores(metric: str, rows: Answered, predicted: NDArray[Any], probability: Scores | None) -> Scores:
    """A score a row, above is better, shape (n,); NaN where the version did not answer."""
    if metric in (*_RIGHT, *_BALANCED):
        seen = np.array([value is not None for value in predicted], dtype=bool)
        right = np.where(seen, (predicted == rows.truth).astype(float), np.nan)
        return right * _class_weights(rows.truth) if metric in _BALANCED else right
    if probability is not None:
        return np.asarray(np.log(np.maximum(probability, _LEAST_PROBABILITY)), dtype=float)
    error = np.asarray(predicted, dtype=float) - np.asarray(rows.truth, dtype=float)
    loss = error**2 if metric in _SQUARED else np.abs(error)
    return np.asarray(-loss, dtype=float)


def _class_weights(truth: NDArray[Any]) -> Scores:
    """Weights a row, mean 1, with which each class weighs the same."""
    if not len(truth):
        return np.zeros(0)
    _, index, counts = np.unique(truth.astype(str), return_inverse=True, return_counts=True)
    return np.asarray(len(truth) / (len(counts) * counts[index]), dtype=float)


def _margin(metric: str, worse_by: float, rows: Answered, stable: Scores) -> float:
    """`worse_by` in the unit of a row's score."""
    if metric == "rmse":
        known = stable[~np.isnan(stable)]
        rmse = float(np.sqrt(-known.mean())) if known.size else 0.0
        return (rmse + worse_by) ** 2 - rmse**2
    if metric == "r2":
        return worse_by * float(np.var(np.asarray(rows.truth, dtype=float))) if len(rows.truth) else 0.0
    return worse_by


def _paired(stable: Scores, candidate: Scores) -> Paired:
    return Paired(
        n=len(stable),
        both_right=int(((stable > 0) & (candidate > 0)).sum()),
        only_stable_right=int(((stable > 0) & (candidate == 0)).sum()),
        only_candidate_right=int(((stable == 0) & (candidate > 0)).sum()),
    )


def _differences(stable: Scores, candidate: Scores) -> Differences:
    gained = candidate - stable
    if not gained.size:
        return Differences()
    return Differences(len(gained), float(gained.mean()), float(gained.std(ddof=1)) if gained.size > 1 else 0.0)


def _splits(
    release: Release, rows: Answered, stable: Scores, candidate: Scores, both: NDArray[np.bool_]
) -> tuple[Split, ...]:
    began = [
        np.datetime64(step.began.replace(tzinfo=None) - (step.began.utcoffset() or _ZERO)) for step in release.steps
    ]
    found = []
    for index, step in enumerate(release.steps):
        inside = ~both & (rows.time >= began[index])
        if index + 1 < len(began):
            inside &= rows.time < began[index + 1]
        mine = inside & rows.by_candidate & ~np.isnan(candidate)
        theirs = inside & ~rows.by_candidate & ~np.isnan(stable)
        found.append(Split(step.percent, _sample(stable[theirs]), _sample(candidate[mine])))
    return tuple(found)


def _sample(scores: Scores) -> Sample:
    return Sample(len(scores), float(scores.sum()), float((scores**2).sum()))
