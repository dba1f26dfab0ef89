"""Parameters by type: what a person gave, checked; what a task gave, converted as the type says."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from typing import Any

from trimtab.engine.ir import Interface, ParameterSpec
from trimtab.errors import PipelineRefused

_NAMES = {
    "NUMBER_INTEGER": "an integer",
    "NUMBER_DOUBLE": "a number",
    "STRING": "a string",
    "BOOLEAN": "true or false",
    "LIST": "a list",
    "STRUCT": "a dict",
}
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
MOST_BYTES = 16 * 1024 * 1024  # of one value as JSON


class WrongTypeError(ValueError):
    """A value is not of the parameter's type."""


def convert(value: Any, kind: str) -> Any:
    """`value` as the IR's parameter type `kind`; whole floats become ints where wanted. Raises WrongTypeError."""
    if kind in {"TASK_FINAL_STATUS", "TASK_CONFIG"}:
        return value
    good = _converted(value, kind)
    if good is None:
        raise WrongTypeError(f"expected {_NAMES.get(kind, kind)}, found {_shown(value)}")
    return good[0]


def _converted(value: Any, kind: str) -> tuple[Any] | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "NUMBER_INTEGER":
        return (int(value),) if number and float(value).is_integer() else None
    if kind == "NUMBER_DOUBLE":
        return (float(value),) if number and math.isfinite(value) else None
    wanted = {"STRING": str, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}.get(kind)
    return (value,) if wanted is not None and isinstance(value, wanted) else None


def loosened(value: Any, kind: str) -> Any:
    """As `convert`, and as a cluster does between tasks: a number or a JSON text becomes a string and the reverse."""
    if kind == "STRING" and not isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, str) and kind != "STRING":
        return from_text(value, kind)
    return convert(value, kind)


def from_text(text: str, kind: str, *, optional: bool = False) -> Any:
    """The value of a `-p name=text`: text for strings, JSON for lists and dicts; of optional ones `null` is None.

    Raises WrongTypeError.
    """
    if kind == "STRING":
        return text
    if kind == "BOOLEAN" and text.strip().lower() in _BOOLEANS:
        return _BOOLEANS[text.strip().lower()]
    try:
        found = json.loads(text)
        return None if found is None and optional else convert(found, kind)
    except (json.JSONDecodeError, RecursionError):
        raise WrongTypeError(f"expected {_NAMES.get(kind, kind)}, found {_shown(text)}") from None


def arguments(interface: Interface, given: Mapping[str, Any], *, pipeline: str) -> dict[str, Any]:
    """A pipeline's parameters with its defaults; raises PipelineRefused with every problem at once."""
    problems = [_unknown(name, interface) for name in given if name not in interface.parameters]
    found: dict[str, Any] = {}
    for name, spec in interface.parameters.items():
        if name in given and not (given[name] is None and spec.optional):
            problems += _take(name, spec, given[name], found)
        elif spec.has_default:
            found[name] = convert(spec.default, spec.type)
        elif not spec.optional:
            problems.append(f"parameter {name} ({_NAMES.get(spec.type, spec.type)}) is missing: give -p {name}=...")
    problems += [
        f"input artifact {name} of the pipeline itself cannot be given here: import it with dsl.importer"
        for name, artifact in interface.artifacts.items()
        if not artifact.optional
    ]
    if problems:
        raise PipelineRefused(f"{pipeline}: " + "; ".join(problems))
    return found


def _take(name: str, spec: ParameterSpec, value: Any, found: dict[str, Any]) -> list[str]:
    try:
        found[name] = convert(value, spec.type)
        size = len(json.dumps(found[name], allow_nan=False))
    except WrongTypeError as error:
        return [f"parameter {name}: {error}"]
    except (TypeError, ValueError) as error:
        return [f"parameter {name}: {_shown(value)} is no JSON value ({error})"]
    if size > MOST_BYTES:
        return [f"parameter {name} has {size} bytes; at most {MOST_BYTES} are taken: pass data as an artifact"]
    if spec.literals and found[name] not in spec.literals:
        return [f"parameter {name}: expected one of {', '.join(map(repr, spec.literals))}, found {_shown(value)}"]
    return []


def _unknown(name: str, interface: Interface) -> str:
    known = list(interface.parameters)
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(known) or 'none'}"
    return f"unknown parameter {name}: {hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
