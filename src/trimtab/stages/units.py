"""Noticing that a column changed its unit: every decile moved by the same well-known factor."""

from __future__ import annotations

import numpy as np

from trimtab.stages.contract import ColumnRule

DECILES = np.arange(1, 10) / 10
_FACTORS: tuple[tuple[float, str], ...] = (
    (1e6, "mg -> kg, Wh -> MWh"),
    (1e3, "g -> kg, m -> km, mm -> m, ms -> s"),
    (100.0, "cm -> m, cents -> euros, percent -> share"),
    (3600.0, "s -> h"),
    (60.0, "s -> min, min -> h"),
    (24.0, "h -> d"),
    (25.4, "mm -> inch"),
    (28.3495, "g -> oz"),
    (453.592, "g -> lb"),
    (10.0, "mm -> cm"),
    (2.54, "cm -> inch"),
    (2.20462, "lb -> kg"),
    (3.28084, "ft -> m"),
    (1.60934, "km -> mile"),
)
_LEAST_ROWS = 20
_LARGE = 10.0
"""A factor from which on nothing but a unit is likely; below it a real change may come near, so more is asked."""
_NEAR, _NEAR_SMALL = 0.15, 0.04
"""How far the median ratio may be from the factor, as a natural logarithm."""
_EVEN, _EVEN_SMALL = 0.5, 0.12
"""How far apart the deciles' ratios may be, as a natural logarithm."""


def scale_change(rule: ColumnRule, values: np.ndarray) -> tuple[str, bool] | None:
    """A sentence and whether it is severe (by ten or more), when `values` look like the reference in another unit.

    `values` are finite (n,). All deciles must be in nearly the same ratio to the reference's, and that ratio near a
    known factor (or its inverse), or as degrees Celsius are to Fahrenheit. A change of what is measured moves the
    deciles unequally.
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
    size = abs(float(np.median(ratios)))
    factor, pairs = min(_FACTORS, key=lambda entry: abs(size - np.log(entry[0])))
    large = factor >= _LARGE
    if abs(size - np.log(factor)) > (_NEAR if large else _NEAR_SMALL) or np.ptp(ratios) > (
        _EVEN if large else _EVEN_SMALL
    ):
        return None
    smaller = float(np.median(ratios)) > 0
    if not smaller:
        pairs = ", ".join(" -> ".join(reversed(pair.split(" -> "))) for pair in pairs.split(", "))
    word = "smaller" if smaller else "larger"
    return f"column {rule.name!r} is {factor:g} times {word} than before ({told}): another unit ({pairs})?", large


def _temperature(old: np.ndarray, new: np.ndarray) -> bool:
    spread = old[-1] - old[0]
    if spread <= 0:
        return False
    for converted in (old * 1.8 + 32, (old - 32) / 1.8):
        width = converted[-1] - converted[0]
        if np.abs(old - converted).min() > width and np.abs(new - converted).max() < 0.1 * width:
            return True
    return False
