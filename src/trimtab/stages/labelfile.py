"""Labels that come as a file: CSV or Parquet with an id and a label a row, and when each became known."""

from __future__ import annotations

import codecs
import csv
import difflib
import math
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.errors import DataRefused
from trimtab.spec.data import EventTime, Source
from trimtab.stages.delimited import likely_delimiter, read_bytes, read_text
from trimtab.stages.event_time import event_times, refuse_future
from trimtab.stages.tables import Rows, format_of, load

_LONGEST_HEADER = 100_000
_OTHER_DECIMAL = str.maketrans(".,", ",.")


def read(
    path: Path,
    *,
    id_column: str,
    label_column: str,
    time_column: str | None,
    now: datetime,
    numbers: bool,
    like: Source | None = None,
) -> list[dict[str, Any]]:
    """The file's labels as records of the label log, in its order; without `time_column` all became known `now`.

    `numbers`: every label must be a number. `like`: the loop's source; a text file is read as it is, but for a
    delimiter or a Unicode encoding that the file itself shows to be another. Raises DataRefused naming file, line and
    value, and then takes none.
    """
    if not path.is_file():
        raise DataRefused(f"{path}: no such file. Give a CSV or Parquet file with an id and a label a row")
    columns = (id_column, label_column, *([time_column] if time_column else []))
    rows = load(_source(path, like or Source(), columns), path.parent)
    _refuse_unknown(path, columns, rows.table.column_names)
    ids, labels = _texts(rows, id_column), _texts(rows, label_column)
    if numbers:
        labels = _numbers(rows, label_column, labels)
    stamps = [now.isoformat()] * len(ids)
    if time_column is not None:
        times = event_times(rows.table, EventTime(column=time_column), rows.where)
        refuse_future(times, now, rows.where)
        stamps = [f"{text}+00:00" for text in np.datetime_as_string(times, unit="us")]
    return [
        {"id": id_, "label": label, "time": stamp, "source": "file"}
        for id_, label, stamp in zip(ids, labels, stamps, strict=True)
    ]


def _source(path: Path, like: Source, wanted: Sequence[str]) -> Source:
    """How to read the file: as `like`, but for what its first bytes and its header show to be otherwise."""
    source = like.model_copy(update={"path": path.name, "query": None, "format": None})
    if format_of(path, source) != "csv":
        return source
    encoding = _encoding(path, like.encoding)
    header = re.split(r"\r\n|\r|\n", read_text(path, encoding), maxsplit=1)[0][:_LONGEST_HEADER]
    delimiter = like.delimiter
    if not set(wanted) <= set(_names(header, delimiter)):
        likely = likely_delimiter(header)
        delimiter = max(delimiter, likely, key=lambda mark: len(_names(header, mark)))
    return source.model_copy(update={"encoding": encoding, "delimiter": delimiter})


def _names(header: str, delimiter: str) -> list[str]:
    return next(csv.reader([header], delimiter=delimiter), [])


def _encoding(path: Path, stated: str) -> str:
    """The stated encoding, or the Unicode one that the bytes can only be; raises DataRefused if they are neither."""
    data = read_bytes(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    wide = stated.lower().startswith(("utf-16", "utf_16", "utf16", "utf-32", "utf_32", "utf32"))
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if stated.lower().replace("_", "-") not in ("utf-8", "utf8"):
            return stated
        line = data.count(b"\n", 0, error.start) + 1
        raise DataRefused(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not {stated}, the encoding of data.source. "
            "Save the labels as UTF-8"
        ) from error
    return "utf-8" if b"\0" not in data and (wide or not data.isascii()) else stated


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


def _numbers(rows: Rows, name: str, labels: Sequence[str]) -> list[str]:
    commas = rows.as_text and rows.source.decimal == ","
    found = [label.translate(_OTHER_DECIMAL) if commas else label for label in labels]
    for row, text in enumerate(found):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            mark = "a comma" if commas else "a point"
            hint = (
                f". Write {mark} before the fraction, as data.source.decimal says"
                if re.fullmatch(r"[-+]?[0-9]+[.,][0-9]+", labels[row])
                else ""
            )
            raise DataRefused(
                f"{rows.where(row)}: {name} is {labels[row]!r}, which is no number, and this loop predicts one{hint}"
            )
    return found
