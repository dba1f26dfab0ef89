"""One fitted transform, used by training and by serving alike: raw columns in, float64 matrix out.

It is plain JSON (no pickle), and the row path and the frame path end in the same matrix, bit for bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trimtab.errors import DataRefused
from trimtab.spec.features import Features
from trimtab.stages.contract import NUMERIC, Contract
from trimtab.stages.featurevalues import JOIN, TimePart, crossed, numbers_of, numbers_of_frame, text, time_part

Row = Mapping[str, Any]

_CATEGORICAL = ("string", "boolean")


class NumberColumn(BaseModel):
    """A number as it enters the matrix: filled where missing, then (x - mean) / deviation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    column: str
    fill: float | None = None
    mean: float = 0.0
    deviation: float = 1.0


class CategoryColumn(BaseModel):
    """One column, or a cross of several, as categories. `values` are the known ones, most frequent first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...] = Field(min_length=1)
    values: tuple[str, ...]
    encode: Literal["one-hot", "ordinal"]
    other: bool = False  # rarer categories of the training rows were put together as one
    missing: bool = False  # training rows had missing values

    @property
    def name(self) -> str:
        """The column's name, or the names of a cross."""
        return " x ".join(self.columns)

    @property
    def width(self) -> int:
        """Matrix columns it makes."""
        return 1 if self.encode == "ordinal" else len(self.values) + self.other + self.missing

    @cached_property
    def _index(self) -> dict[str, int]:
        return {value: position for position, value in enumerate(self.values)}

    def code(self, text: str | None) -> int:
        """Where the category goes: its position, then `other`, then `missing`; -1 for one with no place."""
        if text is None:
            return len(self.values) + self.other if self.missing else -1
        known = self._index.get(text)
        if known is not None:
            return known
        return len(self.values) if self.other else -1


class Transform(BaseModel):
    """What was fitted on the training rows. Missing numbers without `fill` stay NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    numbers: tuple[NumberColumn, ...]
    categories: tuple[CategoryColumn, ...]
    time_parts: tuple[TimePart, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix's columns, d of them."""
        out = [one.column for one in self.numbers]
        for one in self.categories:
            if one.encode == "ordinal":
                out.append(one.name)
                continue
            out += [f"{one.name}={value.replace(JOIN, ' x ')}" for value in one.values]
            out += [f"{one.name} (other)"] * one.other + [f"{one.name} (missing)"] * one.missing
        return (*out, *(f"time.{part}" for part in self.time_parts))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The raw columns used."""
        used = [one.column for one in self.numbers] + [name for one in self.categories for name in one.columns]
        return tuple(dict.fromkeys(used))

    def apply(self, frame: pd.DataFrame) -> np.ndarray:
        """The matrix (n, d) float64 of a frame of raw columns (an absent one is missing) and, for time parts, `_time`.

        Raises DataRefused for a value that is no number where the training rows had numbers.
        """
        out = np.zeros((len(frame), len(self.names)), dtype=np.float64)
        nothing = [None] * len(frame)
        for position, one in enumerate(self.numbers):
            out[:, position] = numbers_of_frame(frame[one.column]) if one.column in frame else np.nan
        at = len(self.numbers)
        for category in self.categories:
            values = [frame[name].tolist() if name in frame else nothing for name in category.columns]
            texts = zip(*([text(value) for value in column] for column in values), strict=True)
            self._place(out, at, category, [category.code(crossed(parts)) for parts in texts])
            at += category.width
        if self.time_parts:
            times = frame["_time"].dt
            for offset, part in enumerate(self.time_parts):
                out[:, at + offset] = getattr(times, "dayofyear" if part == "day_of_year" else part).to_numpy()
        return self._finish(out)

    def apply_rows(self, rows: Sequence[Row], times: Sequence[datetime]) -> np.ndarray:
        """The same matrix, quicker for few, of requests' rows (absent or None is missing) at their times."""
        out = np.zeros((len(rows), len(self.names)), dtype=np.float64)
        for position, one in enumerate(self.numbers):
            column = one.column
            out[:, position] = numbers_of(column, [row.get(column) for row in rows])
        at = len(self.numbers)
        for category in self.categories:
            if len(category.columns) == 1:
                column = category.columns[0]
                codes = [category.code(text(row.get(column))) for row in rows]
            else:
                codes = [category.code(crossed([text(row.get(name)) for name in category.columns])) for row in rows]
            self._place(out, at, category, codes)
            at += category.width
        for offset, part in enumerate(self.time_parts):
            out[:, at + offset] = [time_part(time, part) for time in times]
        return self._finish(out)

    def _place(self, out: np.ndarray, at: int, category: CategoryColumn, codes: Sequence[int]) -> None:
        if category.encode == "ordinal":
            out[:, at] = codes
            return
        for row, code in enumerate(codes):
            if code >= 0:
                out[row, at + code] = 1.0

    @cached_property
    def _fills(self) -> np.ndarray:
        return np.array([np.nan if one.fill is None else one.fill for one in self.numbers])

    @cached_property
    def _scales(self) -> tuple[np.ndarray, np.ndarray] | None:
        means = np.array([one.mean for one in self.numbers])
        deviations = np.array([one.deviation for one in self.numbers])
        return None if not means.any() and (deviations == 1).all() else (means, deviations)

    def _finish(self, out: np.ndarray) -> np.ndarray:
        numbers = out[:, : len(self.numbers)]
        missing = ~np.isfinite(numbers)  # infinity is no measurement; validation names it, no estimator takes it
        if missing.any():
            np.copyto(numbers, np.broadcast_to(self._fills, numbers.shape), where=missing)
        if self._scales is not None:
            numbers -= self._scales[0]
            numbers /= self._scales[1]
        return out

    def to_json(self) -> str:
        """The transform as JSON text."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Transform:
        """Read what `to_json` wrote; raises DataRefused on anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise DataRefused(
                f"this is not a transform that trimtab wrote: {where}: {first['msg']}. Train again."
            ) from error


def fit(features: Features, contract: Contract, frame: pd.DataFrame) -> Transform:
    """Fit on the training rows; what is constant or empty there is left out. Raises DataRefused if nothing is left."""
    rules = [rule for rule in contract.features if rule.type != "empty"]
    numbers = [_number(rule.name, frame[rule.name], features) for rule in rules if rule.type in NUMERIC]
    categorical = [rule.name for rule in rules if rule.type in _CATEGORICAL]
    categories = [_category((name,), frame, features) for name in categorical]
    learnt = {one.columns[0] for one in categories if one is not None}
    for cross in features.crosses:
        empty = [rule.name for rule in contract.features if rule.type == "empty"]
        wrong = [name for name in cross.columns if name not in categorical and name not in empty]
        if wrong:
            raise DataRefused(
                f"features.crosses: {', '.join(wrong)} is no text or boolean feature; "
                f"those are: {', '.join(categorical) or 'none'}"
            )
        if learnt.issuperset(cross.columns):  # crossed with a constant it would be the other column again
            categories.append(_category(cross.columns, frame, features))
    transform = Transform(
        numbers=tuple(one for one in numbers if one is not None),
        categories=tuple(one for one in categories if one is not None),
        time_parts=features.time_parts,
    )
    if not transform.names:
        raise DataRefused(
            "no column is left to learn from: all are ignored, constant or empty. "
            "Look at data.ignore and features.include"
        )
    return transform


def _number(name: str, values: pd.Series, features: Features) -> NumberColumn | None:
    """None for a column that teaches nothing: no value at all, or the same one in every row."""
    known = numbers_of_frame(values)
    known = known[np.isfinite(known)]
    if not known.size or (known.size == len(values) and (known == known[0]).all()):
        return None
    fills = {"median": float(np.median(known)), "mean": float(np.mean(known)), "zero": 0.0}
    filled = fills.get(features.numeric.impute)
    if features.numeric.scale == "none":
        return NumberColumn(column=name, fill=filled)
    largest = float(np.abs(known).max()) or 1.0
    deviation = float(np.std(known / largest)) * largest or 1.0  # squares of very large numbers overflow
    return NumberColumn(column=name, fill=filled, mean=float(np.mean(known)), deviation=deviation)


def _category(columns: tuple[str, ...], frame: pd.DataFrame, features: Features) -> CategoryColumn | None:
    """None for a column that teaches nothing, as for numbers."""
    parts = zip(*([text(value) for value in frame[name].tolist()] for name in columns), strict=True)
    counts = Counter(crossed(one) for one in parts)
    missing = counts.pop(None, 0) > 0
    if len(counts) + missing < 2:
        return None
    # Ties are broken by name, so that the same rows in another order fit the same transform.
    ordered = sorted((name for name in counts if name is not None), key=lambda name: (-counts[name], name))
    most = features.categorical.max_categories
    return CategoryColumn(
        columns=columns,
        values=tuple(ordered[:most]),
        encode=features.categorical.encode,
        other=len(ordered) > most,
        missing=missing,
    )
