"""Giving a column its type: exactly, from all of its visible values at once, whatever the order of the rows.

Text becomes numbers only when every value is written as a number. `007` is a code, not seven; whole numbers beyond
2**53 are codes too, because a float would lose their last digits. A column of mostly numbers but not all is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trimtab.errors import DataRefused
from trimtab.spec.data import ColumnContract
from trimtab.stages.distinct import Distinct

_INTEGER = r"^[ \t]*[+-]?(0|[1-9][0-9]*)[ \t]*$"
_NUMBER = r"^[ \t]*[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?[ \t]*$"
_COMMA = r"^[ \t]*[+-]?[0-9]+(\.[0-9]{3})*,[0-9]+[ \t]*$"
_BOOLEAN = r"^(true|false|True|False|TRUE|FALSE)$"
_LARGEST_EXACT = 2**53

Where = Callable[[int], str]
"""Row position in the column to the words that tell a person where it is."""
StatedType = Literal["number", "integer", "string", "boolean"]


def stated_type(said: ColumnContract | None) -> StatedType | None:
    """The type that a person stated; a domain alone says text, a bound alone says number."""
    if said is None:
        return None
    if said.type is None and said.domain:
        return "string"
    if said.type is None and (said.min is not None or said.max is not None):
        return "number"
    return said.type


def type_text(name: str, column: pa.ChunkedArray, stated: str | None, where: Where, decimal: str = ".") -> np.ndarray:
    """Values of a text column as int64, float64 (NaN: missing), bool, or object (str, bool; None: missing).

    `stated` is the contract's type, or None to infer it; raises DataRefused naming the first value that breaks it.
    `decimal` is what stands before a number's fraction.
    """
    distinct = Distinct.of(column, decimal)
    integer, number = distinct.matches(_INTEGER), distinct.matches(_NUMBER)
    kind = stated or _infer(name, distinct, integer, number, where)
    if kind in ("number", "integer"):
        wanted = integer if kind == "integer" else number
        if kind == "integer" and not wanted.all() and number.all():
            wanted = _whole(distinct, number)
        if not wanted.all():
            _refuse(
                name,
                distinct,
                ~wanted,
                f"is not a {'whole ' if kind == 'integer' else ''}number",
                where=where,
                stated=stated,
            )
        return _numbers(name, distinct, bool(integer.all()) or kind == "integer", where)
    if kind == "boolean":
        zero_one = np.array([value in ("0", "1") for value in distinct.values], dtype=bool)
        boolean = distinct.matches(_BOOLEAN) | zero_one
        if not boolean.all():
            _refuse(name, distinct, ~boolean, "is neither true nor false", where=where, stated=stated)
        return _booleans(distinct)
    return distinct.take(np.array(distinct.written, dtype=object), None)


def zeros_written(column: pa.ChunkedArray, decimal: str = ".") -> dict[str, int]:
    """How often zero is written in which way: `0` among `0.0` may mark a missing value."""
    distinct = Distinct.of(column, decimal)
    zero = distinct.matches(r"^[+-]?0+(\.0*)?$")
    return {distinct.written[i]: int(distinct.counts[i]) for i in np.flatnonzero(zero)}


def type_arrow(name: str, column: pa.ChunkedArray, stated: str | None, where: Where) -> np.ndarray:
    """Like `type_text` for a column that already has an Arrow type (Parquet, SQL)."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return type_arrow(name, column.cast(kind.value_type), stated, where)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        text = column.cast(pa.string())
        return type_text(name, text, stated or "string", where)
    if pa.types.is_null(kind):
        return np.full(len(column), None, dtype=object)
    if stated == "string" or pa.types.is_temporal(kind):
        return np.array(pa.array(_as_text(column)).to_pylist(), dtype=object)
    if pa.types.is_boolean(kind):
        if stated in ("number", "integer"):
            raise DataRefused(
                f"column {name!r} holds true and false, but the contract says {stated}. Correct one of them."
            )
        return _from_booleans(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _from_numbers(name, column, stated, where)
    raise DataRefused(
        f"column {name!r} has type {kind}; a cell must be a number, text, true or false, or a time. "
        "List the column in `data.ignore`, or write it otherwise."
    )


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of any scalar type as text; whole floats without their `.0`, so that ids 1.0 and 1 are the same."""
    if pa.types.is_string(column.type):
        return column
    return pa.chunked_array([pa.array(_as_text(column), pa.string())])


def _as_text(column: pa.ChunkedArray) -> list[str | None]:
    return [
        None if value is None or (isinstance(value, float) and math.isnan(value)) else _word(value)
        for value in column.to_pylist()
    ]


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST_EXACT:
        return str(int(value))
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _infer(name: str, distinct: Distinct, integer: np.ndarray, number: np.ndarray, where: Where) -> str:
    if not distinct.values:
        return "string"
    if distinct.matches(_BOOLEAN).all():
        return "boolean"
    if number.all():
        exact = all(abs(int(value)) <= _LARGEST_EXACT for value in np.array(distinct.values, dtype=object)[integer])
        return ("integer" if integer.all() else "number") if exact else "string"
    digits = distinct.matches(r"^[ \t]*[+-]?[0-9][0-9.]*[ \t]*$")
    if (digits | number).all():
        return "string"  # codes with leading zeros, versions, dotted numbers
    comma = distinct.matches(_COMMA)
    if (comma | number).all():
        read, instead = ("point", "comma") if distinct.values is distinct.written else ("comma", "point")
        rule = f"writes a number with a {instead}, where a {read} is read"
        simple = not (comma & distinct.matches(r"\.")).any()  # else it has thousands as well, which nothing reads
        way = f"say `data.source.decimal: '{'.,'[instead == 'comma']}'`" if simple else ""
        _refuse(name, distinct, comma, rule, where=where, stated=None, way=way)
    counted = int(distinct.counts[number].sum())
    if counted * 2 > int(distinct.counts.sum()):
        _refuse(
            name, distinct, ~number, f"is no number, but {counted} values of this column are", where=where, stated=None
        )
    return "string"


def _refuse(
    name: str, distinct: Distinct, bad: np.ndarray, rule: str, *, where: Where, stated: str | None, way: str = ""
) -> NoReturn:
    row = distinct.first(bad)
    value = distinct.written[int(distinct.codes[row])]
    rows = int(distinct.counts[bad].sum())
    others = f" ({rows} rows in all)" if rows > 1 else ""
    source = f"; the contract says {stated}" if stated else ""
    way = way or (
        "correct the type in `data.contract`" if stated else f"say `data.contract: {{{name}: {{type: string}}}}`"
    )
    raise DataRefused(
        f"{where(row)}: column {name!r} holds {value[:60]!r}, which {rule}{source}{others}. "
        f"Mend the data, add the mark to `data.source.missing`, or {way}."
    )


def _whole(distinct: Distinct, number: np.ndarray) -> np.ndarray:
    return np.asarray(number & [float(value).is_integer() for value in distinct.values])


def _numbers(name: str, distinct: Distinct, whole: bool, where: Where) -> np.ndarray:
    floats = np.array([float(value) for value in distinct.values], dtype=np.float64)
    limit = _LARGEST_EXACT if whole else 1e300
    if (np.abs(floats) > limit).any():
        reason = "has too many digits for an exact number" if whole else "is too large a number"
        _refuse(name, distinct, np.abs(floats) > limit, reason, where=where, stated="integer" if whole else "number")
    if whole and (distinct.codes >= 0).all() and distinct.values:
        return np.asarray(floats.astype(np.int64)[distinct.codes])
    return distinct.take(floats, np.nan)


def _booleans(distinct: Distinct) -> np.ndarray:
    true = np.array([value.lower() in ("true", "1") for value in distinct.values], dtype=bool)
    if (distinct.codes >= 0).all() and distinct.values:
        return np.asarray(true[distinct.codes])
    return distinct.take(true.astype(object), None)


def _from_booleans(column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count:
        return np.array(column.to_pylist(), dtype=object)
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False), dtype=bool)


def _from_numbers(name: str, column: pa.ChunkedArray, stated: str | None, where: Where) -> np.ndarray:
    if stated == "boolean":
        return type_text(name, as_text(column), stated, where)
    if pa.types.is_integer(column.type):
        bounds = pc.min_max(column).as_py()
        if bounds["min"] is not None and max(abs(bounds["min"]), abs(bounds["max"])) > _LARGEST_EXACT:
            if stated is None:
                return np.array(_as_text(column), dtype=object)
            raise DataRefused(
                f"column {name!r}: whole numbers beyond 2**53 lose digits as numbers. Say `type: string`."
            )
        if not column.null_count and stated != "number":
            return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
    values = np.asarray(pd.to_numeric(column.cast(pa.float64(), safe=False).to_pandas()), dtype=np.float64)
    if stated == "integer":
        broken = np.isfinite(values) & (values != np.floor(values))
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            raise DataRefused(
                f"{where(row)}: column {name!r} holds {values[row]!r}, but the contract says integer. "
                "Mend the data, or say `type: number`."
            )
    return values
