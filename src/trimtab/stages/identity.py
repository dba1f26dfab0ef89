"""Which columns the document names, and what each row is called."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.spec.document import LoopSpec
from trimtab.stages.columns import as_text
from trimtab.stages.tables import Rows

ID, TIME = "_id", "_time"
"""The columns that ingest adds: the row's name (str) and its event time (datetime64[us, UTC])."""
LABEL, LABEL_TIME = "_label", "_label_time"
PREDICTION, SCORES, LATENCY, VERSION = "_prediction", "_scores", "_latency_ms", "_version"
"""What stands beside raw columns in the frames of monitoring. A leading underscore tells ours from people's."""
RESERVED = frozenset({ID, TIME, LABEL, LABEL_TIME, PREDICTION, SCORES, LATENCY, VERSION})


def row_ids(rows: Rows, column: str | None, times: np.ndarray) -> np.ndarray:
    """Each row's name (n,) as str: the text of `column`, or `row-<n>` by the row's position in the source.

    Raises DataRefused for a missing or repeated id, naming both places.
    """
    if column is not None:
        return _named(rows, column)
    numbers = np.arange(len(times)) if rows.ordered else _content_positions(rows.table, times)
    return np.array([f"row-{n}" for n in numbers], dtype=object)


def named_columns(spec: LoopSpec) -> dict[str, str]:
    """Where sections other than `data` name a column of the source, and which."""
    return {
        **{f"features.include[{i}]": name for i, name in enumerate(spec.features.include)},
        **{
            f"features.crosses[{i}].columns[{j}]": name
            for i, cross in enumerate(spec.features.crosses)
            for j, name in enumerate(cross.columns)
        },
        **{f"quality.slices[{i}].column": one.column for i, one in enumerate(spec.quality.slices)},
    }


def refuse_unknown_columns(
    names: list[str], data: Data, rows: Rows | None = None, named: Mapping[str, str] | None = None
) -> None:
    """Raise DataRefused when the document names a column that the source lacks, with the nearest name.

    `named`: what `named_columns` found, as a misspelt slice or feature would switch off a gate or a column unseen.
    """
    reserved = [name for name in names if name in RESERVED]
    if reserved:
        raise DataRefused(f"column {reserved[0]!r}: trimtab adds columns of that name itself. Rename it in the source.")
    wanted: Mapping[str, str | None] = {
        "data.label.column": data.label.column,
        "data.time.column": data.time.column,
        "data.time.year": data.time.year,
        "data.time.month": data.time.month,
        "data.time.day": data.time.day,
        "data.id": data.id,
        "data.entity": data.entity,
        **{f"data.ignore[{i}]": name for i, name in enumerate(data.ignore)},
        **{f"data.contract.{name}": name for name in data.contract},
        **(named or {}),
    }
    file = f"{rows.pieces[0].path.name}: " if rows is not None and rows.pieces else ""
    for place, name in wanted.items():
        if name is not None and name not in names:
            raise DataRefused(f"{file}there is no column {name!r} ({place}){_instead(name, names)}.")


def _instead(name: str, names: list[str]) -> str:
    folded = {known.strip().lower(): known for known in names}
    close = (
        [folded[name.strip().lower()]] if name.strip().lower() in folded else difflib.get_close_matches(name, names, 1)
    )
    hint = f"; nearest is {close[0]!r}" if close else ""
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        hint = f"; the header is one piece, {names[0][:60]!r}: say `data.source.delimiter`"
    shown = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
    return f"{hint}. The columns are: {shown}"


def _named(rows: Rows, column: str) -> np.ndarray:
    text = as_text(rows.table.column(column))
    if text.null_count:
        row = int(np.flatnonzero(text.is_null().to_numpy())[0])
        raise DataRefused(
            f"{rows.where(row)}: column {column!r} (data.id) is empty ({text.null_count} rows in all). "
            "Give every row an id."
        )
    ids = np.array(text.to_pylist(), dtype=object)
    doubled = pd.Series(ids).duplicated(keep="first").to_numpy()
    if doubled.any():
        second = int(np.flatnonzero(doubled)[0])
        first = int(np.flatnonzero(ids == ids[second])[0])
        raise DataRefused(
            f"{rows.where(second)}: column {column!r} (data.id) repeats {ids[second]!r} of {rows.where(first)} "
            f"({int(doubled.sum())} repeats in all). Remove the doubles, or name another column in `data.id`."
        )
    return ids


def _content_positions(table: pa.Table, times: np.ndarray) -> np.ndarray:
    """Row numbers by time, then by content: a database may return the same rows in another order tomorrow."""
    keys = [np.array([str(value) for value in table.column(name).to_pylist()]) for name in reversed(table.column_names)]
    positions = np.empty(len(times), dtype=np.int64)
    positions[np.lexsort([*keys, times])] = np.arange(len(times))
    return positions
