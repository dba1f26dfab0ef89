"""pydantic's errors in plain words: what was found, what was expected, the nearest right key or value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from trimtab.spec.document import LoopSpec, ModelLoop
from trimtab.spec.problems import Loc, nearest, shown

_KINDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping of keys",
    "model_attributes": "a mapping of keys",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least {}"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "at most {}"),
    "less_than": ("lt", "less than {}"),
    "string_too_short": ("min_length", "at least {} characters"),
    "string_too_long": ("max_length", "at most {} characters"),
    "too_short": ("min_length", "at least {} items"),
    "too_long": ("max_length", "at most {} items"),
}


MOST_EXPLAINED = 200  # the nearest key of each of twenty thousand wrong ones would take half a minute
_FORMER = {"on": "causes"}  # what a key was called once


@dataclass(frozen=True)
class Finding:
    """A problem that has no line yet. `of_key`: it is the key that is wrong, not its value."""

    loc: Loc
    message: str
    found: str = ""
    expected: str = ""
    suggestion: str = ""
    of_key: bool = False
    missing: bool = False


def explain(error: ValidationError, value: Any) -> Iterator[Finding]:
    """A finding for each of the first MOST_EXPLAINED errors; `value` is what was validated."""
    seen: set[Loc] = set()
    for detail in error.errors(include_url=False):
        loc = _real(detail, value)
        if len(seen) == MOST_EXPLAINED:
            return
        if loc not in seen:  # one problem a place: the other members of a union say the same again
            seen.add(loc)
            yield _finding(detail, loc)


def _real(detail: ErrorDetails, value: Any) -> Loc:
    """The part of pydantic's location that is in the document: unions and functions add parts of their own."""
    loc: list[str | int] = []
    here = value
    for part in detail["loc"]:
        inside = isinstance(here, dict) and part in here
        if inside or (isinstance(here, list) and isinstance(part, int) and part < len(here)):
            here = here[part]
            loc.append(part)
    if detail["type"] == "missing":
        loc.append(detail["loc"][-1])
    return tuple(loc)


def _finding(detail: ErrorDetails, loc: Loc) -> Finding:
    if detail["type"] == "missing":
        expected = _only_values(loc) or _meaning(loc)
        return Finding(loc, "a key that must be there is missing", expected=expected, of_key=True, missing=True)
    if detail["type"] == "extra_forbidden":
        return _unknown_key(loc)
    return _wrong_value(detail, loc)


def _wrong_value(detail: ErrorDetails, loc: Loc) -> Finding:
    kind, context, given = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        expected = f"one of {', '.join(allowed)}" if len(allowed) > 1 else str(allowed[0] if allowed else "")
        near = nearest(given, allowed) if isinstance(given, str) else ""
        return Finding(loc, "not allowed here", shown(given), expected, near)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return Finding(loc, "out of bounds", shown(given), words.format(_plain(context.get(name))))
    if kind == "string_pattern_mismatch":
        return Finding(loc, "not allowed here", shown(given), _meaning(loc) or f"text like {context.get('pattern')}")
    said = str(detail["msg"]).removeprefix("Value error, ")
    if kind == "value_error" and said.startswith("expected "):
        return Finding(loc, "cannot be read", shown(given), said.removeprefix("expected "))
    for suffix in ("_type", "_parsing", "_from_float"):
        if kind.removesuffix(suffix) in _KINDS:
            return Finding(loc, "the wrong kind of value", shown(given), _KINDS[kind.removesuffix(suffix)])
    return Finding(loc, said[:1].lower() + said[1:], shown(given), _KINDS.get(kind, ""))


def _plain(bound: Any) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _unknown_key(loc: Loc) -> Finding:
    """The nearest key of the same mapping, else where in the document a key of that name belongs."""
    name, known = str(loc[-1]), keys_at(loc[:-1])
    near = _FORMER.get(name, "") if _FORMER.get(name) in known else nearest(name, known)
    if near:
        return Finding(loc, "unknown key", suggestion=near, of_key=True)
    elsewhere = list(dict.fromkeys(path for path, leaf in _every_key() if nearest(name, [leaf]) == leaf))
    if elsewhere:
        return Finding(loc, "unknown key here", expected=f"it in {' or '.join(elsewhere[:2])}", of_key=True)
    return Finding(loc, "unknown key", expected=f"one of {', '.join(known)}" if known else "", of_key=True)


def keys_at(loc: Loc) -> tuple[str, ...]:
    """The keys that the mapping at `loc` may have; none for a mapping with names of its own."""
    model = _model_at(loc)
    return () if model is None else tuple(field.alias or name for name, field in model.model_fields.items())


def _meaning(loc: Loc) -> str:
    model = _model_at(loc[:-1])
    for name, field in (model.model_fields if model is not None else {}).items():
        if (field.alias or name) == loc[-1]:
            return (field.description or "").rstrip(".")
    return ""


def _only_values(loc: Loc) -> str:
    """The values that a key may have where those can be counted, such as `apiVersion`."""
    model = _model_at(loc[:-1])
    for name, field in (model.model_fields if model is not None else {}).items():
        if (field.alias or name) == loc[-1] and get_origin(field.annotation) is Literal:
            return " or ".join(f"`{loc[-1]}: {one}`" for one in get_args(field.annotation))
    return ""


def _model_at(loc: Loc) -> type[BaseModel] | None:
    found: type[BaseModel] | None = ModelLoop
    skip = False
    for part in loc:
        if isinstance(part, int) or skip:  # inside a list, or the free name of a mapping's entry
            skip = False
            continue
        if found is None:
            return None
        field = next(
            (field for name, field in found.model_fields.items() if (field.alias or name) == part),
            None,
        )
        if field is None:
            return None
        skip = _origin_is_mapping(field.annotation)
        found = _inner_model(field.annotation)
    return None if skip else found


def _origin_is_mapping(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) in (dict, Mapping)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _inner_model(part)) is not None), None)


@cache
def _every_key() -> tuple[tuple[str, str], ...]:
    """Every key below spec, with the path of the mapping that it belongs to."""

    def below(model: type[BaseModel], path: str) -> Iterator[tuple[str, str]]:
        for name, field in model.model_fields.items():
            key = field.alias or name
            yield path, key
            inner = _inner_model(field.annotation)
            if inner is not None:
                yield from below(inner, f"{path}.{key}")

    return tuple(below(LoopSpec, "spec"))
