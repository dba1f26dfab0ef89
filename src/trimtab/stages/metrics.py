"""Model metrics with confidence intervals. Classes are strings, regression values float64; n rows each.

Shares: Wilson's score interval (Wilson 1927). Means: Student's t. F1-like metrics: bootstrap of the confusion matrix,
whose counts are multinomial (Efron & Tibshirani 1993, chapter 13, percentile interval). Others: bootstrap of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from scipy import stats

from trimtab.decisions.observed import Estimate
from trimtab.errors import DataRefused
from trimtab.spec.metrics import KNOWN

_DRAWS = 400
_SEED = 20020101
_BINS = 10
_EVERY_CLASS_ALIKE = ("macro_f1", "balanced_accuracy")
_LEAST_PROBABILITY = float(np.finfo(np.float64).eps)
_CELLS_AT_ONCE = 1 << 21


def value(
    metric: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    scores: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
) -> float:
    """The metric over (n,) truth and prediction; log_loss and calibration_error want `scores` (n, k) for `classes`.

    Raises DataRefused for an unknown metric, no rows, numbers that are not finite, scores that are wanted but absent.
    """
    _check(metric, truth, prediction)
    if metric in _OF_CONFUSION:
        return float(_OF_CONFUSION[metric](confusion(truth, prediction)[1][None, ...])[0])
    return float(_statistic(metric, *_per_row(metric, truth, prediction, scores, classes)))


def estimate(
    metric: str,
    truth: np.ndarray,
    prediction: np.ndarray,
    scores: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The metric with its interval; arguments and errors as for `value`. The same rows give the same interval."""
    _check(metric, truth, prediction)
    n, tail = len(truth), (1 - confidence) / 2
    if metric == "accuracy":
        return _wilson(int((truth == prediction).sum()), n, tail)
    generator = np.random.default_rng(_SEED)
    if metric in _OF_CONFUSION:
        counts = confusion(truth, prediction)[1]
        point = float(_OF_CONFUSION[metric](counts[None, ...])[0])
        return _interval(point, _drawn_shares(_OF_CONFUSION[metric], counts, generator), n, tail, (0.0, 1.0))
    columns = _per_row(metric, truth, prediction, scores, classes)
    point = float(_statistic(metric, *columns))
    if metric in ("mae", "log_loss"):
        return _mean(columns[0], point, n, tail)
    drawn = [_drawn(metric, columns, generator.integers(0, n, n)) for _ in range(_DRAWS)]
    return _interval(point, np.array(drawn), n, tail, (float("-inf"), float("inf")))


def counted(metric: str, truth: np.ndarray, known: Collection[str], least: int) -> np.ndarray:
    """The rows (n,) that a metric of live traffic counts: all, but for metrics in which every class weighs the same.

    There a class that the version never saw counts from `least` labels on: one mistyped label must not weigh as much
    as a whole class. Until then such labels are evidence of a new class, and count in the other metrics.
    """
    if metric not in _EVERY_CLASS_ALIKE:
        return np.ones(len(truth), dtype=bool)
    names, which, counts = np.unique(truth.astype(str), return_inverse=True, return_counts=True)
    kept = np.array([name in known for name in names], dtype=bool) | (counts >= least)
    return np.asarray(kept[which], dtype=bool)


def confusion(truth: np.ndarray, prediction: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Class names of either (k, sorted) and the (k, k) counts: rows are the truth, columns the prediction."""
    names, codes = np.unique(np.concatenate([truth, prediction]).astype(str), return_inverse=True)
    k, n = len(names), len(truth)
    counts = np.bincount(codes[:n] * k + codes[n:], minlength=k * k).reshape(k, k)
    return [str(name) for name in names], counts


def reliability(
    truth: np.ndarray, prediction: np.ndarray, scores: np.ndarray, bins: int = _BINS
) -> list[dict[str, float]]:
    """Reliability diagram of the top class (Guo et al. 2017, section 2): score, accuracy and n of each filled bin."""
    top = scores.max(axis=1)
    right = truth == prediction
    which = np.minimum((top * bins).astype(int), bins - 1)
    return [
        {"score": float(top[chosen].mean()), "accuracy": float(right[chosen].mean()), "n": int(chosen.sum())}
        for chosen in (which == one for one in range(bins))
        if chosen.any()
    ]


def _drawn(metric: str, columns: tuple[np.ndarray, ...], rows: np.ndarray) -> float:
    return _statistic(metric, *(column[rows] for column in columns))


def _drawn_shares(
    measure: Callable[[np.ndarray], np.ndarray], counts: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The measure (draws,) of resampled confusions; a few at a time, as those of many classes are large."""
    cells, n = np.flatnonzero(counts), int(counts.sum())
    shares = counts.ravel()[cells] / n
    at_once = max(1, _CELLS_AT_ONCE // counts.size)
    found = []
    for start in range(0, _DRAWS, at_once):
        size = min(at_once, _DRAWS - start)
        drawn = np.zeros((size, counts.size), dtype=np.int64)
        drawn[:, cells] = generator.multinomial(n, shares, size=size)
        found.append(measure(drawn.reshape(size, *counts.shape)))
    return np.concatenate(found)


def _check(metric: str, truth: np.ndarray, prediction: np.ndarray) -> None:
    if metric not in KNOWN or KNOWN[metric].kind != "model":
        known = ", ".join(name for name, one in KNOWN.items() if one.kind == "model")
        raise DataRefused(f"{metric!r} is no model metric. Known: {known}")
    if len(truth) == 0:
        raise DataRefused(f"{metric} over no rows is nothing. Wait for labels, or look at a longer time")
    if len(truth) != len(prediction):
        raise DataRefused(f"{metric}: {len(truth)} labels but {len(prediction)} predictions")
    if "regression" in KNOWN[metric].problems:
        _check_numbers(metric, truth, prediction)


def _check_numbers(metric: str, truth: np.ndarray, prediction: np.ndarray) -> None:
    for what, values in (("label", truth), ("prediction", prediction)):
        if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
            raise DataRefused(f"{metric}: a {what} is no finite number. Leave such rows out, or mend the data")


def _check_scores(metric: str, n: int, scores: np.ndarray, classes: Sequence[str]) -> None:
    if scores.shape != (n, len(classes)):
        raise DataRefused(f"{metric}: scores of shape {scores.shape} for {n} rows and {len(classes)} classes")
    if not ((scores >= 0) & (scores <= 1 + 1e-9)).all():
        raise DataRefused(f"{metric}: a score is no probability between 0 and 1; calibrate the model, or name accuracy")


def _f1(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 of each class (draws, k) and its rows; a class absent from truth and prediction has F1 nan."""
    hits = np.diagonal(counts, axis1=1, axis2=2).astype(float)
    rows, columns = counts.sum(axis=2), counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return 2 * hits / (rows + columns), rows


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.nanmean(_f1(counts)[0], axis=1))


def _weighted_f1(counts: np.ndarray) -> np.ndarray:
    scores, rows = _f1(counts)
    return np.asarray((np.nan_to_num(scores) * rows).sum(axis=1) / rows.sum(axis=1))


def _balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    rows = counts.sum(axis=2)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(np.diagonal(counts, axis1=1, axis2=2) / rows, axis=1))


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.trace(counts, axis1=1, axis2=2) / counts.sum(axis=(1, 2)))


_OF_CONFUSION = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "weighted_f1": _weighted_f1,
}


def _per_row(
    metric: str, truth: np.ndarray, prediction: np.ndarray, scores: np.ndarray | None, classes: Sequence[str] | None
) -> tuple[np.ndarray, ...]:
    if metric == "mae":
        return (np.abs(truth - prediction),)
    if metric == "rmse":
        return ((truth - prediction) ** 2,)
    if metric == "r2":
        return (truth, (truth - prediction) ** 2)
    if scores is None or classes is None:
        raise DataRefused(f"{metric} needs the scores of every class. Turn on serving.log.scores")
    _check_scores(metric, len(truth), scores, classes)
    if metric == "calibration_error":
        return (scores.max(axis=1), (truth == prediction).astype(float))
    position = {name: index for index, name in enumerate(classes)}
    columns = np.array([position.get(name, -1) for name in truth.astype(str)])
    # A class that the model never saw has probability nought; the floor keeps its loss finite (as scikit-learn does).
    found = np.where(columns >= 0, scores[np.arange(len(truth)), columns], 0.0)
    return (-np.log(np.maximum(found, _LEAST_PROBABILITY)),)


def _statistic(metric: str, *columns: np.ndarray) -> float:
    if metric == "rmse":
        return float(np.sqrt(columns[0].mean()))
    if metric == "r2":
        spread = float(((columns[0] - columns[0].mean()) ** 2).sum())
        return 1.0 - float(columns[1].sum()) / spread if spread > 0 else float("nan")
    if metric == "calibration_error":
        top, right = columns
        which = np.minimum((top * _BINS).astype(int), _BINS - 1)
        gaps = np.bincount(which, weights=right - top, minlength=_BINS)
        return float(np.abs(gaps).sum() / len(top))
    return float(columns[0].mean())


def _wilson(count: int, n: int, tail: float) -> Estimate:
    z = float(stats.norm.isf(tail))
    share, spread = count / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * float(np.sqrt(share * (1 - share) / n + spread / (4 * n))) / (1 + spread)
    return Estimate(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)), n)


def _mean(values: np.ndarray, point: float, n: int, tail: float) -> Estimate:
    if n == 1:
        return Estimate(point, float("-inf"), float("inf"), 1)
    half = float(stats.t.isf(tail, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(point, point - half, point + half, n)


def _interval(point: float, drawn: np.ndarray, n: int, tail: float, widest: tuple[float, float]) -> Estimate:
    """Percentiles of the draws; one row alone, or no finite draw, tells nothing of the spread."""
    if n == 1 or not np.isfinite(drawn).any():
        return Estimate(point, *widest, n)
    low, high = np.nanquantile(drawn, (tail, 1 - tail))
    return Estimate(point, float(np.fmin(point, low)), float(np.fmax(point, high)), n)
