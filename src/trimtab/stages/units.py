"""Noticing that a column changed its unit: its values moved as a well-known conversion would move them."""

from __future__ import annotations

import numpy as np

from trimtab.stages.contract import ColumnRule

DECILES = np.arange(1, 10) / 10
_CONVERSIONS: tuple[tuple[float, str, str], ...] = (
    (1e6, "mg", "kg"),
    (1e6, "Wh", "MWh"),
    (1e3, "g", "kg"),
    (1e3, "mg", "g"),
    (1e3, "m", "km"),
    (1e3, "mm", "m"),
    (1e3, "ms", "s"),
    (1e3, "W", "kW"),
    (100.0, "cm", "m"),
    (100.0, "cents", "whole coins"),
    (100.0, "percent", "shares of 1"),
    (3600.0, "s", "h"),
    (60.0, "s", "min"),
    (60.0, "min", "h"),
    (24.0, "h", "d"),
    (25.4, "mm", "inch"),
    (28.3495, "g", "oz"),
    (453.592, "g", "lb"),
    (10.0, "mm", "cm"),
    (2.54, "cm", "inch"),
    (2.20462, "lb", "kg"),
    (3.28084, "ft", "m"),
    (1.60934, "km", "mile"),
)
"""Factor, unit of the larger numbers, unit of the smaller numbers."""
_LEAST_ROWS = 20
_LARGE = 10.0
"""A factor from which on little but a unit is likely; below it a real change may come near, so more is asked."""


def scale_change(rule: ColumnRule, values: np.ndarray) -> tuple[str, bool] | None:
    """A sentence and whether it is severe (by ten or more), when `values` look like the reference in another unit.

    `values` are finite (n,). Either all deciles are in nearly the same ratio to the reference's and that is a known
    factor; or, for factors of ten and more, the middle 80 percent of old and new values do not even touch, and the
    medians differ by about a known factor (what is measured may have changed as well: within a factor of 3 for factors
    of a hundred and more, else 1.5); or the deciles moved as degrees Celsius do to Fahrenheit.
    """
    if rule.deciles is None or values.size < _LEAST_ROWS:
        return None
    old, new = np.array(rule.deciles), np.quantile(values, DECILES)
    unit = f" {rule.unit}" if rule.unit else ""
    told = f"the median is {new[4]:.4g}, it was {old[4]:.4g}{unit} in the reference rows"
    if _temperature(old, new):
        return f"column {rule.name!r}: {told}; degrees Celsius and Fahrenheit seem to be mixed up.", True
    if (old <= 0).any() or (new <= 0).any():
        return None
    ratios = np.log(old / new)
    ratio = float(np.exp(np.median(ratios)))
    found = _conversions(rule.unit, ratio, float(np.ptp(ratios)), bool(old[0] > new[-1] or new[0] > old[-1]))
    if not found:
        return None
    pairs = ", ".join(f"{before} -> {after}" for _, before, after in found[:4])
    word = "smaller" if ratio > 1 else "larger"
    times = max(ratio, 1 / ratio)
    sentence = f"column {rule.name!r} is about {times:.4g} times {word} than before ({told}): another unit ({pairs})?"
    return sentence, max(factor for factor, _, _ in found) >= _LARGE


def _conversions(unit: str, ratio: float, uneven: float, apart: bool) -> list[tuple[float, str, str]]:
    """Factor, old and new unit that explain the ratio of the medians, nearest first; of the stated unit if known."""
    size = abs(np.log(ratio))
    known = [(factor, a, b) if ratio > 1 else (factor, b, a) for factor, a, b in _CONVERSIONS]
    if any(unit == before for _, before, _ in known):
        known = [entry for entry in known if entry[1] == unit]
    found = [entry for entry in known if abs(size - np.log(entry[0])) <= _reach(entry[0], uneven, apart)]
    return sorted(found, key=lambda entry: abs(size - np.log(entry[0])))


def _reach(factor: float, uneven: float, apart: bool) -> float:
    """How far the ratio of the medians may be from the factor, as natural logarithms; negative: not at all."""
    if factor >= _LARGE and apart:
        return float(np.log(3 if factor >= 100 else 1.5))
    if factor >= _LARGE:
        return 0.15 if uneven <= 0.5 else -1.0
    return 0.04 if uneven <= 0.12 else -1.0


def _temperature(old: np.ndarray, new: np.ndarray) -> bool:
    if old[-1] <= old[0]:
        return False
    for converted in (old * 1.8 + 32, (old - 32) / 1.8):
        width = converted[-1] - converted[0]
        if np.abs(old - converted).min() > width and np.abs(new - converted).max() < 0.1 * width:
            return True
    return False
