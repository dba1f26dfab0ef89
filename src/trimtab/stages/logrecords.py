"""Records of the prediction log and the label log as Arrow columns, grouped and ranked without a loop over rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trimtab.errors import DataRefused

PREDICTION_COLUMNS = ("id", "time", "version", "shadow", "attempt", "features", "prediction", "scores")
LABEL_COLUMNS = ("id", "label", "time")


def read_records(records: pd.DataFrame | pa.Table, needed: tuple[str, ...], kind: str) -> pa.Table:
    """The needed columns as Arrow, times in microseconds without a zone (UTC)."""
    table = records if isinstance(records, pa.Table) else pa.Table.from_pandas(records, preserve_index=False)
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataRefused(
            f"the {kind} records lack the columns {missing}; they were not written by trimtab's record log."
        )
    if table.num_rows == 0:  # pandas gives an empty column no type
        table = table.set_column(table.column_names.index("time"), "time", pa.array([], pa.timestamp("us", tz="UTC")))
    times = pc.cast(pc.cast(table["time"], pa.timestamp("us", tz="UTC"), safe=False), pa.timestamp("us"))
    types: Mapping[str, pa.DataType] = {
        "id": pa.string(),
        "version": pa.string(),
        "label": pa.string(),
        "shadow": pa.bool_(),
    }
    for name, wanted in types.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, table[name].cast(wanted))
    return table.set_column(table.column_names.index("time"), "time", times)


def seen_at(table: pa.Table, moment: np.datetime64) -> pa.Table:
    """The records dated `moment` or before."""
    return table.filter(pc.less_equal(table["time"], pa.scalar(moment.astype(object), pa.timestamp("us"))))


def group_codes(*columns: pa.ChunkedArray) -> np.ndarray:
    """One int64 a row, equal for rows that agree in all columns."""
    codes = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        encoded = pc.dictionary_encode(column.combine_chunks())
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        part = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        codes = codes * (len(encoded.dictionary) + 1) + part
    return codes


def text_ranks(column: pa.ChunkedArray) -> np.ndarray:
    """Rank of each text among the different texts of its column: a tie-breaker that no order of rows can change."""
    encoded = pc.dictionary_encode(column.combine_chunks())
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    words = np.array(encoded.dictionary.to_pylist(), dtype=object)
    place = np.empty(len(words) + 1, dtype=np.int64)
    place[np.argsort(words)] = np.arange(len(words))
    place[-1] = -1
    return np.asarray(place[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)])


def times_of(table: pa.Table) -> np.ndarray:
    """The records' times as datetime64[us] in UTC (n,)."""
    return np.asarray(table["time"].to_numpy()).astype("datetime64[us]")


def last_of_each(groups: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Positions of the last row of each group by the keys (most significant first), ascending."""
    order = np.lexsort((*reversed(keys), groups))
    if order.size == 0:
        return order
    ordered = groups[order]
    return np.sort(order[np.append(ordered[1:] != ordered[:-1], True)])


def numeric(table: pa.Table) -> pa.Table:
    """The label records whose label is a finite number."""
    values = pd.to_numeric(pd.Series(table["label"].to_pylist(), dtype=object), errors="coerce")
    return table.filter(pa.array(np.isfinite(values.to_numpy(dtype=np.float64))))
