"""Model and software metrics of served traffic, each with its interval and over how many rows it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trimtab.decisions.monitoring import bounds
from trimtab.decisions.observed import Estimate
from trimtab.errors import DataRefused
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.stages.identity import LABEL, LATENCY, PREDICTION, SCORES
from trimtab.stages.metrics import counted, estimate
from trimtab.stages.sample import numbers, texts


def quality(
    spec: LoopSpec, matured: pd.DataFrame, classes: Sequence[str] | None
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    """Every model metric that scope or an alarm names, over the matured rows; with too few of them only the reason."""
    if len(matured) < spec.monitoring.least_labels:
        return {}, (f"{len(matured)} labels matured; quality is judged from {spec.monitoring.least_labels}",)
    return _measure(spec, matured, classes, _names(spec))


def on_holdout(
    spec: LoopSpec, holdout: pd.DataFrame, classes: Sequence[str] | None, names: Sequence[str]
) -> dict[str, Estimate]:
    """The same metrics on the champion's hold-out (columns `_label`, `_prediction`, perhaps `_scores`)."""
    if holdout.empty or LABEL not in holdout or PREDICTION not in holdout:
        return {}
    return _measure(spec, holdout, classes, names)[0]


def software(served: pd.DataFrame, failed: int, confidence: float) -> dict[str, Estimate]:
    """volume, error_rate and latency percentiles of the window's requests; what has no rows is left out."""
    rows = len(served)
    found = {"volume": Estimate(float(rows), float(rows), float(rows), rows)}
    if rows + failed:
        found["error_rate"] = share(failed, rows + failed, confidence)
    if LATENCY in served:
        latency = np.sort(numbers(served[LATENCY]))
        latency = latency[np.isfinite(latency)]
        if latency.size:
            found["latency_p50_ms"] = _percentile(latency, 0.5, confidence)
            found["latency_p99_ms"] = _percentile(latency, 0.99, confidence)
    return found


def share(count: int, rows: int, confidence: float) -> Estimate:
    """A share with Wilson's score interval (Wilson 1927)."""
    z = float(stats.norm.isf((1 - confidence) / 2))
    p, spread = count / rows, z * z / rows
    middle = (p + spread / 2) / (1 + spread)
    half = z * float(np.sqrt(p * (1 - p) / rows + spread / (4 * rows))) / (1 + spread)
    return Estimate(p, max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half)), rows)


def newest(frame: pd.DataFrame, column: str) -> datetime | None:
    """The newest time of a column, or None."""
    if column not in frame or not frame[column].notna().any():
        return None
    moment: datetime = pd.Timestamp(frame[column].max()).to_pydatetime()
    return moment


def _percentile(ordered: NDArray[np.float64], q: float, confidence: float) -> Estimate:
    """With an interval from order statistics (David & Nagaraja 2003, section 7.1): no distribution is assumed."""
    n = ordered.size
    low, high = stats.binom.ppf([(1 - confidence) / 2, (1 + confidence) / 2], n, q)
    value = float(np.quantile(ordered, q, method="inverted_cdf"))
    return Estimate(value, float(ordered[max(0, int(low) - 1)]), float(ordered[min(n - 1, int(high))]), n)


def _names(spec: LoopSpec) -> tuple[str, ...]:
    named = [metric.name for metric in spec.metrics] + [alarm.metric for alarm in bounds(spec)]
    models = [name for name in named if name in KNOWN and KNOWN[name].kind == "model"]
    return tuple(dict.fromkeys(name for name in models if spec.scope.problem in KNOWN[name].problems))


def _measure(
    spec: LoopSpec, rows: pd.DataFrame, classes: Sequence[str] | None, names: Sequence[str]
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    regression = spec.scope.problem == "regression"
    read = numbers if regression else texts
    truth, prediction = read(rows[LABEL]), read(rows[PREDICTION])
    scores = None if regression else _scores(rows, classes)
    found: dict[str, Estimate] = {}
    reasons = []
    for name in names:
        kept = counted(name, truth, classes or (), spec.retraining.new_class_least if classes else 0)
        told = None if scores is None else scores[kept]
        try:
            one = estimate(name, truth[kept], prediction[kept], told, classes, spec.quality.confidence)
        except DataRefused as error:
            reasons.append(f"{name} was not measured: {error}")
            continue
        if np.isfinite([one.value, one.low, one.high]).all():
            found[name] = one
        else:
            reasons.append(f"{name} is undefined on these {len(rows)} rows")
    return found, tuple(reasons)


def _scores(rows: pd.DataFrame, classes: Sequence[str] | None) -> NDArray[np.float64] | None:
    """(n, k) in the order of `classes`; None unless every row has all of them."""
    if classes is None or SCORES not in rows or rows.empty:
        return None
    listed = rows[SCORES].tolist()
    if any(one is None or np.size(one) != len(classes) for one in listed):
        return None
    return np.array([np.asarray(one, dtype=np.float64) for one in listed])
