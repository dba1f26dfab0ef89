"""Collecting rows as they were known at one point in time.

The order matters: positions and ids over the whole source, event times, then only the visible rows, and of those the
types. So nothing about an invisible row, not even how its number is written, can reach a visible one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.stages.columns import stated_type, type_arrow, type_text, zeros_written
from trimtab.stages.event_time import event_times, refuse_future
from trimtab.stages.feedback import join_feedback
from trimtab.stages.identity import ID, TIME, refuse_unknown_columns, row_ids
from trimtab.stages.tables import Rows, load
from trimtab.stages.text_rules import marks_written


def read(
    data: Data,
    folder: Path,
    *,
    as_of: datetime | None,
    window: timedelta | None = None,
    feedback: pd.DataFrame | None = None,
    now: datetime | None = None,
    named: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Training rows as known at `as_of` (None: all), not older than `window` before it, sorted by `_time`.

    A row is visible iff `_time + label.delay <= as_of` and `_time >= as_of - window`; if no row is, as the data ended
    longer ago, the window ends with the newest row known. Rows without a label are left out (their number is in
    `frame.attrs["unlabelled"]`, and how their labels are written in `frame.attrs["unlabelled_marks"]`). Raw columns
    keep their names and order; then come `_id` and `_time`. Whole numbers are int64, numbers float64 (NaN: missing;
    also whole numbers with missing values), booleans
    bool, text object (None: missing).

    `feedback` holds served rows with the raw columns, the label column, `_id`, `_time` and, if known, `_label_time`
    (when the label arrived); rows whose `_id` is anywhere in the source are not taken again.
    `now` is the clock against which future event times are refused (default: this machine's); `named` holds columns
    that the document names outside `data` (`identity.named_columns`).

    Raises DataRefused naming file and line, or column and value, for everything that cannot be read without guessing.
    """
    collected = _collect(data, folder, now or datetime.now(UTC), named)
    visible = _visible(collected.times, as_of, window, data.label.delay)
    if feedback is not None and data.use_feedback and len(feedback):
        known = set(collected.ids)
        served = feedback[~feedback[ID].astype(str).isin(known)]
        served = served[_feedback_visible(served, as_of, window, data.label.delay)]
    else:
        served = None
    if not visible.any() and (served is None or served.empty):
        visible = _ended(collected.times, as_of, window, data)
    chosen = np.flatnonzero(visible)
    frame = _typed(collected, chosen, data)
    frame.attrs["unlabelled_marks"] = _marks(collected.rows, chosen, data.label.column)
    if served is not None and not served.empty:
        frame = join_feedback(frame, served, data.label.column)
    return _labelled(frame, data, as_of)


def read_all(
    data: Data, folder: Path, *, now: datetime | None = None, named: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Every row of the source, with or without label, sorted by `_time`: for replay. Like `read` otherwise."""
    collected = _collect(data, folder, now or datetime.now(UTC), named)
    return _typed(collected, np.arange(len(collected.times)), data)


@dataclass(frozen=True)
class _Collected:
    """The whole source before any typing: rows, their ids and their event times, in `order` of time."""

    rows: Rows
    ids: np.ndarray
    times: np.ndarray


def _collect(data: Data, folder: Path, now: datetime, named: Mapping[str, str] | None) -> _Collected:
    rows = load(data.source, folder)
    refuse_unknown_columns(rows.table.column_names, data, rows, named)
    times = event_times(rows.table, data.time, rows.where)
    refuse_future(times, now.astimezone(UTC), rows.where)
    return _Collected(rows, row_ids(rows, data.id, times), times)


def _visible(times: np.ndarray, as_of: datetime | None, window: timedelta | None, delay: timedelta) -> np.ndarray:
    if as_of is None:
        return np.ones(len(times), dtype=bool)
    moment = _stamp(as_of)
    visible = times <= moment - np.timedelta64(delay)
    if window is not None:
        visible &= times >= moment - np.timedelta64(window)
    return np.asarray(visible)


def _ended(times: np.ndarray, as_of: datetime | None, window: timedelta | None, data: Data) -> np.ndarray:
    """The rows of the window that ends with the newest row known; raises DataRefused if none is known."""
    known = _visible(times, as_of, None, data.label.delay)
    if not known.any():
        raise DataRefused(_nothing_visible(times, as_of, data))
    return np.asarray(known & (times >= times[known].max() - np.timedelta64(window or timedelta(0))))


def _feedback_visible(
    served: pd.DataFrame, as_of: datetime | None, window: timedelta | None, delay: timedelta
) -> np.ndarray:
    visible = _visible(_stamps(served[TIME]), as_of, window, delay)
    if as_of is not None and "_label_time" in served:
        visible &= _stamps(served["_label_time"]) <= _stamp(as_of)
    return visible


def _stamp(moment: datetime) -> np.datetime64:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "us")


def _stamps(series: pd.Series) -> np.ndarray:
    return pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[us]")


def _typed(collected: _Collected, chosen: np.ndarray, data: Data) -> pd.DataFrame:
    """The chosen rows with their types, sorted by time (rows of one moment keep the source's order)."""
    chosen = chosen[np.argsort(collected.times[chosen], kind="stable")]
    rows = collected.rows
    table = rows.table.take(pa.array(chosen))
    columns: dict[str, np.ndarray] = {}
    zeros: dict[str, dict[str, int]] = {}
    for name in table.column_names:
        column = table.column(name)
        values = _values(name, column, rows, chosen, data)
        if values is None:
            continue
        columns[name] = values
        if rows.as_text and values.dtype.kind in "if":
            written = zeros_written(column, rows.source.decimal)
            if len(written) > 1:
                zeros[name] = written
    frame = pd.DataFrame(columns)
    frame[ID] = collected.ids[chosen]
    frame[TIME] = pd.Series(collected.times[chosen]).dt.tz_localize("UTC")
    frame.attrs["zeros_written"] = zeros
    return frame


def _values(name: str, column: pa.ChunkedArray, rows: Rows, chosen: np.ndarray, data: Data) -> np.ndarray | None:
    """One column's values; None for an ignored column of a type that no cell of a frame can hold."""

    def where(position: int) -> str:
        return rows.where(int(chosen[position]))

    stated = stated_type(data.contract.get(name))
    if stated is None and (name in data.ignore or name in (data.id, data.entity)) and rows.as_text:
        stated = "string" if name in (data.id, data.entity) else _lenient(name, column, rows.source.decimal)
    if not rows.as_text:
        nested = pa.types.is_nested(column.type) or pa.types.is_binary(column.type)
        if nested and name in data.ignore:
            return None
        values = type_arrow(name, column, stated, where)
    else:
        values = type_text(name, column, stated, where, rows.source.decimal)
    if name == data.label.column and values.dtype.kind == "f" and pc.any(column.is_null()).as_py():
        values = _whole_label(values, column)
    return values


def _lenient(name: str, column: pa.ChunkedArray, decimal: str) -> Literal["string"] | None:
    """An ignored column is never refused for mixing numbers and text: it is text then."""
    try:
        type_text(name, column, None, lambda row: f"row {row + 1}", decimal)
    except DataRefused:
        return "string"
    return None


def _whole_label(values: np.ndarray, column: pa.ChunkedArray) -> np.ndarray:
    """Whole-number labels stay whole beside missing ones, so that class 1 is never called 1.0."""
    present = values[~np.isnan(values)]
    if present.size == 0 or (present != np.floor(present)).any() or _written_with_point(column):
        return values
    return np.array([None if np.isnan(value) else int(value) for value in values], dtype=object)


def _written_with_point(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_string(column.type):
        return not pa.types.is_integer(column.type)
    return bool(pc.any(pc.match_substring_regex(column, r"[.,eE]")).as_py())


def _marks(rows: Rows, chosen: np.ndarray, label: str) -> dict[str, int]:
    """How the label is written in those of the chosen rows that have none."""
    absent = chosen[np.asarray(rows.table.column(label).is_null())[chosen]]
    return rows.marks(label, absent) if absent.size else {}


def _labelled(frame: pd.DataFrame, data: Data, as_of: datetime | None) -> pd.DataFrame:
    missing = frame[data.label.column].isna()
    if missing.all():
        known = f" at {as_of:%Y-%m-%d %H:%M}" if as_of else ""
        written = marks_written(frame.attrs["unlabelled_marks"])
        raise DataRefused(
            f"column {data.label.column!r} (data.label.column) has no value in any row known{known}{written}."
        )
    attrs = {**frame.attrs, "unlabelled": int(missing.sum())}
    frame = frame[~missing].reset_index(drop=True)
    frame.attrs = attrs
    return frame


def _nothing_visible(times: np.ndarray, as_of: datetime | None, data: Data) -> str:
    first, last = times.min(), times.max()
    return (
        f"no row's label is known at {as_of}: event times run from {first} to {last} UTC and labels come "
        f"{data.label.delay} later (data.label.delay). Choose a later time."
    )
