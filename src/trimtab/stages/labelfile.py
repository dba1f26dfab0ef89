"""Labels that come as a file: CSV or Parquet with an id and a label a row, and when each became known."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.errors import DataRefused
from trimtab.spec.data import EventTime, Source
from trimtab.stages.event_time import event_times, refuse_future
from trimtab.stages.tables import Rows, load


def read(
    path: Path, *, id_column: str, label_column: str, time_column: str | None, now: datetime, numbers: bool
) -> list[dict[str, Any]]:
    """The file's labels as records of the label log, in its order; without `time_column` all became known `now`.

    `numbers`: every label must be a number. Raises DataRefused naming file, line and value, and then takes none.
    """
    if not path.is_file():
        raise DataRefused(f"{path}: no such file. Give a CSV or Parquet file with an id and a label a row")
    rows = load(Source(path=str(path)), path.parent)
    columns = (id_column, label_column, *([time_column] if time_column else []))
    _refuse_unknown(path, columns, rows.table.column_names)
    ids, labels = _texts(rows, id_column), _texts(rows, label_column)
    if numbers:
        _refuse_words(rows, label_column, labels)
    stamps = [now.isoformat()] * len(ids)
    if time_column is not None:
        times = event_times(rows.table, EventTime(column=time_column), rows.where)
        refuse_future(times, now, rows.where)
        stamps = [f"{text}+00:00" for text in np.datetime_as_string(times, unit="us")]
    return [
        {"id": id_, "label": label, "time": stamp, "source": "file"}
        for id_, label, stamp in zip(ids, labels, stamps, strict=True)
    ]


def _refuse_unknown(path: Path, wanted: Sequence[str], found: Sequence[str]) -> None:
    for name in wanted:
        if name not in found:
            near = difflib.get_close_matches(name, found, 1)
            hint = f"; nearest is {near[0]!r}" if near else ""
            raise DataRefused(
                f"{path}: there is no column {name!r}{hint}. The columns are {', '.join(found)}; "
                "say which with --id, --label and --time"
            )


def _texts(rows: Rows, name: str) -> list[str]:
    values = rows.table.column(name).to_pylist()
    for row, value in enumerate(values):
        if value is None or value == "" or value != value:  # noqa: PLR0124 - NaN only
            raise DataRefused(f"{rows.where(row)}: no {name}. Mend the row, or leave it out")
    return [str(value) for value in values]


def _refuse_words(rows: Rows, name: str, labels: Sequence[str]) -> None:
    for row, label in enumerate(labels):
        try:
            number = float(label)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataRefused(f"{rows.where(row)}: {name} is {label!r}, which is no number, and this loop predicts one")
