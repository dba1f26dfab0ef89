"""What can be wrong with a column of numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from trimtab.stages.anomaly import Anomaly, counted, of_column, of_rows
from trimtab.stages.contract import ColumnRule
from trimtab.stages.units import scale_change

_SENTINELS = (-1.0, 0.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)


def check_numbers(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    """Infinities, another unit, values out of range, and numbers that may mark a missing value."""
    values = pd.to_numeric(frame[rule.name], errors="coerce").to_numpy(dtype=np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        text = f"column {rule.name!r}: {counted(infinite)} are infinite; write a missing value instead."
        yield of_rows(frame, rule.name, "finite", "error", infinite, text)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return
    change = scale_change(rule, finite)
    if change is not None:
        sentence, severe = change
        yield of_column(rule.name, "unit", "error" if severe else "warning", len(frame), sentence)
    yield from _range(frame, rule, values, quiet=change is not None)
    yield from _sentinel(frame, rule, values, finite)
    written = frame.attrs.get("zeros_written", {}).get(rule.name, {})
    if len(written) > 1:
        ways = ", ".join(f"{text!r} {count} times" for text, count in sorted(written.items()))
        text = f"column {rule.name!r} writes zero in more than one way ({ways}); one of them may mark a missing value."
        yield of_rows(frame, rule.name, "missing_mark", "warning", values == 0, text)


def _range(frame: pd.DataFrame, rule: ColumnRule, values: np.ndarray, quiet: bool) -> Iterator[Anomaly]:
    """Stated bounds are errors; beyond an inferred bound by a tenth of its spread is a warning."""
    unit = f" {rule.unit}" if rule.unit else ""
    spread = 0.1 * ((rule.maximum or 0.0) - (rule.minimum or 0.0))
    bounds = (("min", rule.minimum, -1), ("max", rule.maximum, 1))
    for name, bound, side in bounds:
        if bound is None:
            continue
        stated = name in rule.stated
        if not stated and quiet:
            continue
        beyond = (values - bound) * side > (0 if stated else spread)
        if beyond.any():
            farthest = values[beyond].max() if side > 0 else values[beyond].min()
            above = "above" if side > 0 else "below"
            whose = "the contract's" if stated else "the reference rows'"
            text = (
                f"column {rule.name!r}: {counted(beyond)} are {above} {whose} {name} of {bound:g}{unit}; "
                f"the farthest is {farthest:g}."
            )
            yield of_rows(frame, rule.name, "range", "error" if stated else "warning", beyond, text)


def _sentinel(frame: pd.DataFrame, rule: ColumnRule, values: np.ndarray, finite: np.ndarray) -> Iterator[Anomaly]:
    """One repeated value far from all others (Tukey's far out), such as -999: a missing mark read as a number."""
    if rule.role == "label" or finite.size < 20 or np.unique(finite).size < 6:  # few values are codes
        return
    for mark in _SENTINELS:
        same = values == mark
        times = int(same.sum())
        if times < 2 or times > finite.size // 2:
            continue
        others = finite[finite != mark]
        low, high = np.quantile(others, [0.25, 0.75])
        far = max(3 * (high - low), 1e-9)
        edge = others.min() > mark or others.max() < mark
        if edge and (
            mark < low - far or mark > high + far or (mark == 0 and others.min() > 0 and low - 0 > (high - low))
        ):
            text = (
                f"column {rule.name!r}: {counted(same)} are {mark:g}, apart from all others ({others.min():g} to "
                f"{others.max():g}). If that marks a missing value, add '{mark:g}' to `data.source.missing`."
            )
            yield of_rows(frame, rule.name, "missing_mark", "warning", same, text)
