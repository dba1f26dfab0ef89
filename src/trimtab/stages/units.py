"""Noticing that a column changed its unit: every quartile moved by the same well-known factor."""

from __future__ import annotations

import numpy as np

from trimtab.stages.contract import ColumnRule

_FACTORS: tuple[tuple[float, str, str], ...] = (
    (1e6, "millions of the old unit", "mg -> kg, Wh -> MWh"),
    (1e3, "thousands of the old unit", "g -> kg, m -> km, mm -> m, ms -> s"),
    (100.0, "hundreds of the old unit", "cm -> m, cents -> euros, percent -> share"),
    (3600.0, "3600 of the old unit", "s -> h"),
    (60.0, "60 of the old unit", "s -> min, min -> h"),
    (24.0, "24 of the old unit", "h -> d"),
    (25.4, "25.4 of the old unit", "mm -> inch"),
    (28.3495, "28.3495 of the old unit", "g -> oz"),
    (453.592, "453.592 of the old unit", "g -> lb"),
    (10.0, "tens of the old unit", "mm -> cm"),
    (2.54, "2.54 of the old unit", "cm -> inch"),
    (2.20462, "2.20462 of the old unit", "lb -> kg"),
    (3.28084, "3.28084 of the old unit", "ft -> m"),
    (1.60934, "1.60934 of the old unit", "km -> mile"),
)
_LEAST_ROWS = 20
_NEAR = 0.12
"""How far each quartile's ratio may be from the factor, as a natural logarithm: about 12 percent."""


def scale_change(rule: ColumnRule, values: np.ndarray) -> tuple[str, bool] | None:
    """A sentence and whether it is severe (by ten or more), when `values` look like the reference in another unit.

    `values` are finite (n,). All three quartiles must be in nearly the same ratio to the reference's, and that ratio
    near a known factor (or its inverse) or as degrees Celsius are to Fahrenheit. A shift moves quartiles unequally.
    """
    if rule.quartiles is None or values.size < _LEAST_ROWS:
        return None
    old = np.array(rule.quartiles)
    new = np.quantile(values, [0.25, 0.5, 0.75])
    unit = f" {rule.unit}" if rule.unit else ""
    told = f"the median is {new[1]:.4g}, it was {old[1]:.4g}{unit} in the reference rows"
    if old[2] > old[0] and _temperature(old, new):
        return f"column {rule.name!r}: {told}; degrees Celsius and Fahrenheit seem to be mixed up.", True
    if (old <= 0).any() or (new <= 0).any():
        return None
    ratios = np.log(old / new)
    if np.ptp(ratios) > _NEAR:
        return None
    ratio = float(np.exp(ratios.mean()))
    for factor, _, known in sorted(_FACTORS, key=lambda entry: abs(abs(np.log(ratio)) - np.log(entry[0]))):
        if abs(abs(np.log(ratio)) - np.log(factor)) > _NEAR:
            break
        smaller = ratio > 1
        pairs = known if smaller else ", ".join(" -> ".join(reversed(pair.split(" -> "))) for pair in known.split(", "))
        word = "smaller" if smaller else "larger"
        sentence = f"column {rule.name!r} is {factor:g} times {word} than before ({told}): another unit ({pairs})?"
        return sentence, factor >= 10
    return None


def _temperature(old: np.ndarray, new: np.ndarray) -> bool:
    for converted in (old * 1.8 + 32, (old - 32) / 1.8):
        spread = max(converted[2] - converted[0], 1e-9)
        moved = np.abs(old - converted).max() > spread
        if moved and np.abs(new - converted).max() < 0.1 * spread:
            return True
    return False
