"""Do the model's requests look like the rows it was trained on?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import chi2, norm

from trimtab.stages.anomalies import check
from trimtab.stages.anomaly import Anomaly, of_column
from trimtab.stages.contract import NUMERIC, ColumnRule, Contract

FALSE_ALARM_RATE = 0.001
"""Share of same-distribution comparisons, per column, that may exceed the noise bound."""


def skew(
    training: pd.DataFrame,
    serving: pd.DataFrame,
    contract: Contract,
    *,
    least_divergence: float = 0.05,
    least_difference: float = 0.05,
) -> tuple[Anomaly, ...]:
    """Schema skew (rules of `check` on the feature columns) and distribution skew between training and serving rows.

    As TensorFlow Data Validation does (its `drift_comparator`/`skew_comparator`): numbers by the Jensen-Shannon
    divergence (base 2, 0 to 1; Lin 1991) over the deciles of the training rows, text and booleans by the L-infinity
    distance, the largest difference of one value's share. TFDV leaves the threshold to a person; here a column counts
    when it exceeds both the least effect given and what chance alone gives with these many rows.
    """
    features = Contract(problem=contract.problem, rows=contract.rows, columns=contract.features)
    known = [name for name in serving.columns if name in features.by_name or name not in contract.by_name]
    found = [
        anomaly for anomaly in check(serving[known], features) if anomaly.rule in ("column", "type", "missing", "unit")
    ]
    for rule in features.columns:
        if rule.name in training and rule.name in serving and len(training) and len(serving):
            anomaly = _distribution(training[rule.name], serving[rule.name], rule, least_divergence, least_difference)
            if anomaly is not None:
                found.append(anomaly)
    return tuple(found)


def _distribution(
    old: pd.Series, new: pd.Series, rule: ColumnRule, least_divergence: float, least_difference: float
) -> Anomaly | None:
    old, new = old.dropna(), new.dropna()
    if old.empty or new.empty:
        return None
    if rule.type in NUMERIC:
        before, after = (pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64) for series in (old, new))
        value, noise = jensen_shannon(before[np.isfinite(before)], after[np.isfinite(after)])
        if value <= max(least_divergence, noise):
            return None
        text = (
            f"column {rule.name!r} is distributed otherwise in serving: Jensen-Shannon divergence {value:.3f} "
            f"(chance gives up to {noise:.3f}); the median is {np.median(after):.4g}, "
            f"it was {np.median(before):.4g} in training."
        )
        return of_column(rule.name, "distribution", "warning", len(new), text)
    value, noise, name, was, now = l_infinity(old.astype(str), new.astype(str))
    if value <= max(least_difference, noise):
        return None
    text = (
        f"column {rule.name!r} is distributed otherwise in serving: {name!r} is {now:.1%} of rows, it was {was:.1%} in "
        f"training (L-infinity distance {value:.3f}; chance gives up to {noise:.3f})."
    )
    return of_column(rule.name, "distribution", "warning", len(new), text)


def jensen_shannon(old: np.ndarray, new: np.ndarray, bins: int = 10) -> tuple[float, float]:
    """Jensen-Shannon divergence (base 2) of two samples over the deciles of the first, and what chance gives.

    Under one distribution, JSD * 8 ln 2 / (1/n + 1/m) is close to chi-square with bins - 1 degrees of freedom.
    """
    if old.size == 0 or new.size == 0:
        return 0.0, 1.0
    # right-closed bins, so that a value that is an edge itself (a constant, a spike) stays apart from what is above it
    edges = np.unique(np.quantile(old, np.linspace(0, 1, bins + 1)[:-1]))
    edges = np.concatenate([edges, [old.max()]]) if old.max() > edges[-1] else edges
    p = np.bincount(np.searchsorted(edges, old, side="left"), minlength=edges.size + 1) / old.size
    q = np.bincount(np.searchsorted(edges, new, side="left"), minlength=edges.size + 1) / new.size
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log2(p / middle), 0.0).sum()
        right = np.where(q > 0, q * np.log2(q / middle), 0.0).sum()
    used = max(int((middle > 0).sum()) - 1, 1)
    noise = chi2.isf(FALSE_ALARM_RATE, used) * (1 / old.size + 1 / new.size) / (8 * np.log(2))
    return float((left + right) / 2), float(noise)


def l_infinity(old: pd.Series, new: pd.Series) -> tuple[float, float, str, float, float]:
    """Largest difference of one value's share, what chance gives, that value, and its share before and after."""
    shares = pd.concat(
        [old.value_counts(normalize=True).rename("was"), new.value_counts(normalize=True).rename("now")], axis=1
    ).fillna(0.0)
    differences = (shares["now"] - shares["was"]).abs()
    name = str(differences.idxmax())
    was, now = float(shares["was"].loc[name]), float(shares["now"].loc[name])
    pooled = (was * len(old) + now * len(new)) / (len(old) + len(new))
    # normal approximation, Bonferroni over the values looked at
    reach = norm.isf(FALSE_ALARM_RATE / (2 * len(shares)))
    noise = float(reach * np.sqrt(max(pooled * (1 - pooled), 0) * (1 / len(old) + 1 / len(new))))
    return float(differences.max()), noise, name, was, now
