"""Labels spelled as the versions spell their answers: 1, 1.0 and true are one value, but three texts in a log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_TRUTH = {"true": 1.0, "false": 0.0}


def as_answered(labels: pd.Series, predictions: pd.Series, versions: pd.Series) -> np.ndarray:
    """The labels (None: none) in the spelling of their row's version, object (n,); words are left as they are.

    A version that answers `0` and `1` means the label `1.0` when it says `1`: compared as texts it would be wrong on
    every row, and the label a class that nobody has seen.
    """
    told = labels.to_numpy(dtype=object).copy()
    for version in versions.unique():
        mine = (versions == version).to_numpy()
        spell = _spelling(predictions[mine].dropna().unique())
        if spell is not None:
            known = {label: _spelled(label, spell) for label in pd.unique(told[mine]) if label is not None}
            told[mine] = [known.get(label) for label in told[mine]]
    return told


def _spelling(answers: Iterable[str]) -> Callable[[float], str | None] | None:
    """How a version that gave these answers writes a value (None: it cannot); None when its answers are words."""
    answers = list(answers)
    if not answers:
        return None
    if all(answer in {"True", "False"} for answer in answers):
        return lambda value: str(bool(value)) if value in {0.0, 1.0} else None
    if all(_WHOLE.fullmatch(answer) for answer in answers):
        return lambda value: str(int(value)) if value.is_integer() and abs(value) < 1e15 else None
    if all(_is_float(answer) for answer in answers):
        return str
    return None


def _spelled(label: str, spell: Callable[[float], str | None]) -> str:
    value = _TRUTH.get(label.lower())
    if value is None and _NUMBER.fullmatch(label):
        value = float(label)
    return label if value is None else spell(value) or label


def _is_float(answer: str) -> bool:
    try:
        return str(float(answer)) == answer
    except ValueError:
        return False
