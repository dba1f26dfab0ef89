"""A tensor of the V2 protocol, one a column, as a row's values; the same for every server that speaks it.

Values are taken as they were sent and never bent into a datatype: 1.5 in an INT64 tensor is refused, not cut to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from trimtab.serving.refusals import Malformed

_WHOLE = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_BINARY = {
    **_FLOATS,
    **{name: f"<{'u' if sign else 'i'}{bits // 8}" for name, (sign, bits) in _WHOLE.items()},
    "BOOL": "?",
}
DATATYPES = frozenset(_BINARY) | {"BYTES"}
KNOWN = ", ".join([*sorted(_BINARY), "BYTES"])
_LENGTH_BYTES = 4


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object; raises Malformed for anything else."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Malformed(f"the body must be a JSON object, found {type(found).__name__}")
    return found


def rows(columns: Sequence[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    """Row dictionaries from (name, one value a row); raises Malformed for columns that do not fit together."""
    found: dict[str, list[Any]] = {}
    for name, values in columns:
        if name in found:
            raise Malformed(f"input {name!r} is there twice")
        found[name] = values
    lengths = {len(values) for values in found.values()}
    if not found or lengths == {0}:
        raise Malformed("no rows; send one tensor a column, each of shape [rows]")
    if len(lengths) > 1:
        counted = {name: len(values) for name, values in found.items()}
        raise Malformed(f"inputs must all have the same number of rows; found {counted}")
    names = list(found)
    return [dict(zip(names, values, strict=True)) for values in zip(*found.values(), strict=True)]


def wanted(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The outputs asked for, each once, or all of them; raises Malformed for one that there is not."""
    for name in names:
        if name not in known:
            raise Malformed(f"outputs: there is no {name!r}; the outputs are {', '.join(known)}")
    return tuple(dict.fromkeys(names or known))


def column(tensor: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """One input of a JSON request as (name, values); raises Malformed."""
    if not isinstance(tensor, Mapping) or not isinstance(tensor.get("name"), str):
        raise Malformed("inputs: expected objects with a name")
    name, shape, datatype = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    where = f"input {name[:200]!r}"
    if datatype not in DATATYPES:
        raise Malformed(f"{where}: datatype {str(datatype)[:50]!r} is not known; expected one of {KNOWN}")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise Malformed(f"{where}: shape must be a list of whole numbers")
    if not isinstance(tensor.get("data"), list):
        raise Malformed(f"{where}: expected data as a list")
    return name, read(name, shape, datatype, tensor["data"])


def read(name: str, shape: Sequence[int], datatype: str, data: list[Any] | bytes) -> list[Any]:
    """One value a row, None for a missing one; `data` is a list, or bytes in the protocol's binary form."""
    shape, where = list(shape), f"input {name[:200]!r}"
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise Malformed(f"{where}: shape {str(shape)[:80]}; expected [rows] or [rows, 1]")
    values = _unpacked(data, datatype, where) if isinstance(data, bytes) else data
    if values and isinstance(values[0], list):
        if not all(isinstance(one, list) and len(one) == 1 for one in values):
            raise Malformed(f"{where}: data does not have the shape {shape}")
        values = [one[0] for one in values]
    if len(values) != shape[0]:
        raise Malformed(f"{where}: {len(values)} values do not fit the shape {shape}")
    reader = _reader(datatype)
    found = [reader(value) for value in values]
    for value, taken in zip(values, found, strict=True):
        if taken is _UNFIT:
            raise Malformed(f"{where}: {repr(value)[:80]} is no {datatype}")
    return found


def _unpacked(raw: bytes, datatype: str, where: str) -> list[Any]:
    """Values from their binary form."""
    if datatype == "BYTES":
        return _texts(raw, where)
    dtype = np.dtype(_BINARY[datatype])
    if len(raw) % dtype.itemsize:
        raise Malformed(f"{where}: {len(raw)} bytes are no whole number of {datatype}")
    found: list[Any] = np.frombuffer(raw, dtype=dtype).tolist()
    return found


def _texts(raw: bytes, where: str) -> list[Any]:
    """Each text stands behind its length, four bytes with the low one first."""
    found, at = [], 0
    while at < len(raw):
        begins = at + _LENGTH_BYTES
        at = begins + int.from_bytes(raw[at:begins], "little")
        if at > len(raw):
            raise Malformed(f"{where}: its bytes are not length-prefixed texts: one runs past their end")
        found.append(raw[begins:at])
    return found


_UNFIT = object()


def _reader(datatype: str) -> Callable[[Any], Any]:
    """A function from a sent value to the row's value; `_UNFIT` if it is none of this datatype, None if missing."""
    if datatype == "BYTES":
        return _text
    if datatype == "BOOL":
        return lambda value: value if value is None or isinstance(value, bool) else _UNFIT
    if datatype in _FLOATS:
        return _number
    sign, bits = _WHOLE[datatype]
    low, high = (0, 2**bits) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return lambda value: value if value is None or (type(value) is int and low <= value < high) else _UNFIT


def _number(value: Any) -> Any:
    if value is None or type(value) is int:
        return value
    if not isinstance(value, float):
        return _UNFIT
    return None if math.isnan(value) else value


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value if value is None or isinstance(value, str) else _UNFIT
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _UNFIT
