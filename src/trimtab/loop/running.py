"""The running figures of a replay: the metric over the last predictions and over every year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimtab.stages import metrics

RECENT = 1000
"""Predictions that the running figures are taken over."""
_OF_SCORES = ("log_loss", "calibration_error")


def shown_metric(metric: str) -> str:
    """The metric itself, or accuracy where it needs the scores, which a replay's answers do not hold."""
    return "accuracy" if metric in _OF_SCORES else metric


def recent(metric: str, truth: np.ndarray, prediction: np.ndarray) -> float | None:
    """The metric over the last RECENT of (n,) rows; None as for `value`."""
    return value(metric, truth[-RECENT:], prediction[-RECENT:])


def by_year(
    metric: str, truth: np.ndarray, prediction: np.ndarray, years: np.ndarray, every: Sequence[int]
) -> tuple[float | None, ...]:
    """The metric over the rows of each year in `every`; `years` is that of each row."""
    return tuple(value(metric, truth[years == year], prediction[years == year]) for year in every)


def value(metric: str, truth: np.ndarray, prediction: np.ndarray) -> float | None:
    """The metric; numbers without a label are left out. None over no rows, or if a predicted number lacks."""
    if truth.dtype.kind == "f":
        known = np.isfinite(truth)
        truth, prediction = truth[known], prediction[known]
        if not np.isfinite(prediction).all():
            return None
    if not len(truth):
        return None
    found = metrics.value(metric, truth, prediction)
    return found if np.isfinite(found) else None
