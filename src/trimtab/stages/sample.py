"""Frames as the columns that drift is judged on: float64 arrays, or objects of str and None."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.decisions.drift import Sample

if TYPE_CHECKING:
    from trimtab.stages.contract import Contract

Kind = Literal["number", "category"]


def kinds(reference: pd.DataFrame, columns: Sequence[str], contract: Contract | None = None) -> dict[str, Kind]:
    """Number or category for each column that the reference has: as the contract says, else as its values are."""
    stated = {rule.name: rule.type for rule in contract.columns} if contract is not None else {}
    found: dict[str, Kind] = {}
    for name in columns:
        if name not in reference:
            continue
        if stated.get(name, "empty") != "empty":
            found[name] = "number" if stated[name] in {"number", "integer"} else "category"
        else:
            found[name] = _kind(reference[name])
    return found


def sample(frame: pd.DataFrame, kind: Mapping[str, Kind], *, in_time: bool = False) -> Sample:
    """The columns of `kind` that the frame has. `in_time` sorts by `_time`, if there, and keeps it in seconds."""
    time = None
    if in_time and "_time" in frame and len(frame):
        frame = frame[frame["_time"].notna()].sort_values("_time", kind="stable")
        time = frame["_time"].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    columns = {name: _values(frame[name], kind[name]) for name in kind if name in frame}
    return Sample(columns, len(frame), time)


def numbers(series: pd.Series) -> NDArray[np.float64]:
    """float64, shape (n,); what is no number is NaN."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(object)
    series = _flat(series)
    return pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def texts(series: pd.Series) -> NDArray[np.object_]:
    """str or None (missing), shape (n,). A whole number is written alike whether it came as 1, 1.0 or "1"."""
    codes, values = pd.factorize(_flat(series), use_na_sentinel=True)
    words = np.array([*(_text(value) for value in values), None], dtype=object)
    return words[codes]


def _kind(series: pd.Series) -> Kind:
    if pd.api.types.is_bool_dtype(series.dtype) or isinstance(series.dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_numeric_dtype(series.dtype):
        return "number"
    present = series.dropna()
    all_numbers = bool(len(present)) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) for value in present
    )
    return "number" if all_numbers else "category"


def _values(series: pd.Series, kind: Kind) -> NDArray[np.float64] | NDArray[np.object_]:
    return numbers(series) if kind == "number" else texts(series)


def _flat(series: pd.Series) -> pd.Series:
    """Lists and objects, which a client may send as JSON, as their text."""
    if series.dtype != object or all(isinstance(value, Hashable) for value in series):
        return series
    return series.map(lambda value: value if isinstance(value, Hashable) else str(value))


def _text(value: object) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
