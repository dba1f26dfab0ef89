"""One raw value as a number, a category, or a part of a time: the same for a frame's cell and a request's field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from trimtab.errors import DataRefused

TimePart = Literal["month", "day_of_year", "weekday", "hour"]

JOIN = "\x1f"  # between the parts of a cross: printable texts that differ never make the same cross
_LARGEST_EXACT = 2**53


def numbers_of(column: str, values: Sequence[Any]) -> list[float]:
    """float64 values (NaN: missing); raises DataRefused naming the column for what is no number."""
    return [value if type(value) is float else _number(column, value) for value in values]


def numbers_of_frame(values: pd.Series) -> np.ndarray:
    """The same as `numbers_of` for a column of a frame, shape (n,)."""
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array(numbers_of(str(values.name), values.tolist()), dtype=np.float64)


def _number(column: str, value: Any) -> float:
    if type(value) is int and -_LARGEST_EXACT < value < _LARGEST_EXACT:
        return float(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataRefused(
            f"column {column!r} holds {str(value)[:60]!r}, which is no number; the model learnt it as one. "
            "Mend the data, or train again"
        ) from None


def text(value: Any) -> str | None:
    """A category as text; None is missing (also NaN). 3.0 is 3: integers beside a missing one are floats in frames."""
    if type(value) is str:
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if np.isnan(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < _LARGEST_EXACT else str(value)
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def crossed(parts: Sequence[str | None]) -> str | None:
    """The category of a cross; missing if any part is."""
    if len(parts) == 1:
        return parts[0]
    known = [part for part in parts if part is not None]
    return JOIN.join(known) if len(known) == len(parts) else None


def time_part(time: datetime, part: TimePart) -> int:
    """The part of the time in UTC, as frames have it; a time without a zone is UTC."""
    if time.tzinfo is not None and time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    if part == "day_of_year":
        return time.timetuple().tm_yday
    return time.weekday() if part == "weekday" else int(getattr(time, part))
