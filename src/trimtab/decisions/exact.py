"""Frozen dataclasses to JSON and back, exactly: what does not fit the type is refused with its path.

Known types: str, int, float, bool, None, datetime (ISO 8601 with offset), Literal, Optional, tuple[X, ...],
Mapping[str, X], Any (plain JSON) and frozen dataclasses of these.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Value = TypeVar("Value")


def encode(value: Any) -> Any:
    """Plain JSON values of a frozen dataclass (or a part of one); raises ValueError for what JSON cannot hold."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_text(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{type(value).__name__} is not a JSON value")


def decode(kind: type[Value], data: Any, path: str = "") -> Value:
    """The dataclass `kind` out of plain JSON; raises ValueError with the path of the first thing that does not fit."""
    return cast(Value, _read(kind, data, path or kind.__name__))


def _text(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"key {key!r} is not a string")
    return key


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, data: Any, path: str) -> Any:
    if kind is Any:
        return encode(data)
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_dataclass(kind, data, path)
    arguments = get_args(kind)
    return _read_generic(get_origin(kind), arguments, data, path) if arguments else _read_scalar(kind, data, path)


def _read_generic(origin: Any, arguments: tuple[Any, ...], data: Any, path: str) -> Any:
    if origin in (Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return None if data is None and len(inner) < len(arguments) else _read(inner[0], data, path)
    if origin is Literal:
        return _expect(data in arguments, data, f"one of {arguments}", path)
    if origin is tuple:
        _expect(isinstance(data, (list, tuple)), data, "a list", path)
        return tuple(_read(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(data))
    _expect(isinstance(data, Mapping), data, "a mapping", path)
    return {_text(key): _read(arguments[1], item, f"{path}.{key}") for key, item in data.items()}


def _read_dataclass(kind: type, data: Any, path: str) -> Any:
    _expect(isinstance(data, Mapping), data, "a mapping", path)
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(set(data) - set(known))
    needed = [name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    missing = sorted(set(needed) - set(data))
    if unknown or missing:
        raise ValueError(f"{path}: unknown {unknown}, missing {missing}")
    hints = _hints(kind)
    return kind(**{name: _read(hints[name], data[name], f"{path}.{name}") for name in known if name in data})


def _read_scalar(kind: Any, data: Any, path: str) -> Any:
    if kind is datetime:
        _expect(isinstance(data, str), data, "an ISO 8601 time", path)
        try:
            time = datetime.fromisoformat(data)
        except ValueError:
            time = _expect(False, data, "an ISO 8601 time", path)
        _expect(time.tzinfo is not None, data, "a time with its offset", path)
        return time
    if kind is float:
        fits = isinstance(data, (int, float)) and not isinstance(data, bool) and math.isfinite(data)
        return float(_expect(fits, data, "a finite number", path))
    if kind is int:
        return _expect(isinstance(data, int) and not isinstance(data, bool), data, "a whole number", path)
    return _expect(isinstance(data, kind), data, kind.__name__, path)


def _expect(fits: bool, data: Any, what: str, path: str) -> Any:
    if not fits:
        raise ValueError(f"{path}: expected {what}, found {str(data)[:80]!r}")
    return data
