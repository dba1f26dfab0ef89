"""When each row happened, from one column or from year, month and day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from trimtab.errors import DataRefused
from trimtab.spec.data import EventTime
from trimtab.stages.columns import as_text
from trimtab.stages.distinct import Distinct

Where = Callable[[int], str]
_UNIX = {"unix": 1e6, "unix_ms": 1e3}
"""Microseconds in one step of the format."""
_EARLIEST, _LATEST = 1678, 2261
"""Years that pandas' nanosecond parser holds."""
AHEAD = timedelta(days=1)
"""A local time without its zone is read as UTC and may seem up to 14 hours ahead; beyond a day it is an error."""


def event_times(table: pa.Table, time: EventTime, where: Where) -> np.ndarray:
    """Event time of every row as datetime64[us] in UTC (n,); times without a zone are UTC.

    Raises DataRefused naming the first row whose time is missing or cannot be read.
    """
    if time.column is not None:
        return _from_column(table.column(time.column), time, where)
    return _from_parts(table, time, where)


def refuse_future(times: np.ndarray, now: datetime, where: Where) -> None:
    """Raise DataRefused when an event is dated after `now` (and a day): it cannot have happened."""
    limit = np.datetime64(pd.Timestamp(now + AHEAD).tz_convert("UTC").tz_localize(None), "us")
    late = times > limit
    if late.any():
        row = int(np.flatnonzero(late)[0])
        others = f" ({int(late.sum())} rows in all)" if late.sum() > 1 else ""
        raise DataRefused(
            f"{where(row)}: the event time {times[row]} lies in the future{others}; this machine's clock says "
            f"{now:%Y-%m-%d %H:%M} UTC. Mend the row, give `data.time.format`, or set the clock."
        )


def _from_column(column: pa.ChunkedArray, time: EventTime, where: Where) -> np.ndarray:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        _refuse_missing(column, str(time.column), where)
        series = pd.to_datetime(
            pd.Series(column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)))), utc=True
        )
        return series.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    if time.format in _UNIX:
        return _since_1970(column, str(time.column), _UNIX[time.format], where)
    if time.format is None and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataRefused(
            f"column {time.column!r} holds numbers, not times. Give `data.time.format` (unix, unix_ms, %Y, "
            "%Y%m%d …), or make a time of it by a query."
        )
    text = as_text(column)
    _refuse_missing(text, str(time.column), where)
    distinct = Distinct.of(text)
    parsed = pd.to_datetime(
        pd.Series(distinct.values, dtype=object), format=time.format or "ISO8601", errors="coerce", utc=True
    )
    bad = parsed.isna().to_numpy()
    if bad.any():
        row = distinct.first(bad)
        value = distinct.values[int(distinct.codes[row])][:60]
        rule = f"the format {time.format!r}" if time.format else "ISO 8601 (such as 2024-03-31 or 2024-03-31T18:00:00Z)"
        others = int(distinct.counts[bad].sum())
        raise DataRefused(
            f"{where(row)}: column {time.column!r} holds {value!r}, which is no time by {rule}"
            f"{f' ({others} rows in all)' if others > 1 else ''}. Mend the row, or give `data.time.format`; "
            f"years run from {_EARLIEST} to {_LATEST}."
        )
    stamps = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return np.asarray(stamps[distinct.codes])


def _since_1970(column: pa.ChunkedArray, name: str, step: float, where: Where) -> np.ndarray:
    """Seconds or milliseconds since 1970 in UTC, fractions of them included."""
    _refuse_missing(column, name, where)
    text = as_text(column)
    distinct = Distinct.of(text)
    numbers = pd.to_numeric(pd.Series(distinct.values, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    microseconds = numbers * step
    bounds = [np.datetime64(f"{year}-01-01", "us").astype(np.int64) for year in (_EARLIEST, _LATEST)]
    bad = ~((microseconds >= bounds[0]) & (microseconds <= bounds[1]))
    if bad.any():
        row = distinct.first(bad)
        value = distinct.values[int(distinct.codes[row])][:60]
        unit = "milliseconds" if step == _UNIX["unix_ms"] else "seconds"
        raise DataRefused(
            f"{where(row)}: column {name!r} holds {value!r}, which is no number of {unit} since 1970 "
            f"({int(distinct.counts[bad].sum())} rows in all); years run from {_EARLIEST} to {_LATEST}. Mend the "
            "row, or give another `data.time.format`."
        )
    return np.asarray(np.round(microseconds).astype(np.int64).astype("datetime64[us]")[distinct.codes])


def _from_parts(table: pa.Table, time: EventTime, where: Where) -> np.ndarray:
    if time.year is None or (time.day is not None and time.month is None):
        raise DataRefused("data.time: say `column`, or `year` (with `month`, and with `day` if there is a month).")
    year = _whole(table.column(time.year), time.year, (_EARLIEST, _LATEST), where)
    month = _whole(table.column(time.month), time.month, (1, 12), where) if time.month else np.ones_like(year)
    day = _whole(table.column(time.day), time.day, (1, 31), where) if time.day else np.ones_like(year)
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days = months.astype("datetime64[D]") + (day - 1)
    wrong = days.astype("datetime64[M]") != months
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataRefused(
            f"{where(row)}: there is no {year[row]}-{month[row]:02d}-{day[row]:02d} (columns {time.year!r}, "
            f"{time.month!r}, {time.day!r}). Mend the row."
        )
    return np.asarray(days.astype("datetime64[us]"))


def _whole(column: pa.ChunkedArray, name: str, bounds: tuple[int, int], where: Where) -> np.ndarray:
    text = as_text(column)
    _refuse_missing(text, name, where)
    distinct = Distinct.of(text)
    values = pd.to_numeric(pd.Series(distinct.values, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    bad = ~((values == np.floor(values)) & (values >= bounds[0]) & (values <= bounds[1]))
    if bad.any():
        row = distinct.first(bad)
        value = distinct.values[int(distinct.codes[row])][:60]
        raise DataRefused(
            f"{where(row)}: column {name!r} holds {value!r}; expected a whole number from {bounds[0]} to {bounds[1]}. "
            "Mend the row, or name another column in `data.time`."
        )
    return np.asarray(values.astype(np.int64)[distinct.codes])


def _refuse_missing(column: pa.ChunkedArray, name: str, where: Where) -> None:
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataRefused(
            f"{where(row)}: column {name!r} is empty, so the row's event time is unknown ({column.null_count} rows in "
            "all). Fill it, or leave those rows out by a query."
        )
