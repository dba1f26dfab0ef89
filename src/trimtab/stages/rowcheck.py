"""The fast check of one request row against a contract: plain loops over plain values, no pandas."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trimtab.stages.contract import ColumnRule

LONGEST_TEXT = 10_000
"""Characters in one text value of a request."""
LARGEST_NUMBER = 1e300
"""Beyond this a sum of squares overflows."""


@dataclass(frozen=True, slots=True)
class FieldCheck:
    """What one field of a request must obey."""

    name: str
    refuse: Callable[[FieldCheck, Any], str | None]
    role: str
    unit: str
    required: bool
    whole: bool
    minimum: float
    maximum: float
    domain: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class RowCheck:
    """The fields by name, and those that a row must mention."""

    fields: dict[str, FieldCheck]
    mentioned: frozenset[str]

    @classmethod
    def compile(cls, rules: Sequence[ColumnRule]) -> RowCheck:
        """Keep of each rule what may refuse a request: stated bounds and domains, and the type."""
        fields = {rule.name: _field(rule) for rule in rules}
        mentioned = frozenset(
            rule.name for rule in rules if rule.role == "feature" and (rule.required or rule.missing_share == 0)
        )
        return cls(fields, mentioned)


def _field(rule: ColumnRule) -> FieldCheck:
    refuse: Callable[[FieldCheck, Any], str | None]
    if rule.role == "label":
        refuse = _refuse_label
    else:  # what no model reads (an id, a time, an ignored column) may come as any single value
        refuse = _BY_TYPE[rule.type] if rule.role == "feature" else _refuse_nested
    low = rule.minimum if "min" in rule.stated and rule.minimum is not None else -math.inf
    high = rule.maximum if "max" in rule.stated and rule.maximum is not None else math.inf
    domain = frozenset(rule.domain) if "domain" in rule.stated and rule.domain is not None else None
    whole = rule.type == "integer" and "type" in rule.stated
    return FieldCheck(
        rule.name, refuse, rule.role, rule.unit, rule.required and rule.role == "feature", whole, low, high, domain
    )


def refuse_row(check: RowCheck, row: dict[str, Any]) -> str | None:
    """The first rule that `row` breaks, as a sentence naming field, value and rule; None if it breaks none."""
    if not isinstance(row, dict):
        return f"a row must be an object of column names to values, not {_show(row)}."
    fields = check.fields
    for name, value in row.items():
        field = fields.get(name)
        sentence = _unknown(check, name) if field is None else field.refuse(field, value)
        if sentence is not None:
            return sentence
    return None if check.mentioned <= row.keys() else _left_out(check, row)


def _refuse_label(field: FieldCheck, value: Any) -> str | None:  # noqa: ARG001 - every value is refused
    return f"field {field.name!r} is what the model predicts; leave it out."


def _refuse_null(field: FieldCheck) -> str | None:
    return f"field {field.name!r} is null; the contract says that it may never be missing." if field.required else None


def _refuse_boolean(field: FieldCheck, value: Any) -> str | None:
    if value is None:
        return _refuse_null(field)
    if isinstance(value, bool | np.bool_):
        return None
    return f"field {field.name!r} is {_show(value)}; it must be true or false."


def _refuse_nested(field: FieldCheck, value: Any) -> str | None:
    """For a column that reference rows never filled: any single value is fine."""
    if isinstance(value, str):
        return _refuse_text(field, value)
    if value is None or isinstance(value, bool | np.bool_):
        return _refuse_null(field) if value is None else None
    if isinstance(value, int | float | np.number):
        return _refuse_number(field, value)
    return f"field {field.name!r} is {_show(value)}; it must be a single value."


def _refuse_number(field: FieldCheck, value: Any) -> str | None:
    if value is None:
        return _refuse_null(field)
    plain = type(value) is float or type(value) is int
    if not plain and (isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number)):
        hint = " (a number in quotes is text)" if isinstance(value, str) else ""
        return f"field {field.name!r} is {_show(value)}; it must be a number{hint}."
    if not -LARGEST_NUMBER < value < LARGEST_NUMBER:  # false for NaN too
        return f"field {field.name!r} is {_show(value)}; it must be a finite number; send null if it is not known."
    if not field.minimum <= value <= field.maximum:
        return f"field {field.name!r} is {_show(value)}; the contract says {_range(field)}."
    if field.whole and value != int(value):
        return f"field {field.name!r} is {_show(value)}; the contract says a whole number."
    return None


def _refuse_text(field: FieldCheck, value: Any) -> str | None:
    if value is None:
        return _refuse_null(field)
    if not isinstance(value, str):
        return f"field {field.name!r} is {_show(value)}; it must be text."
    if len(value) > LONGEST_TEXT:
        return f"field {field.name!r} has {len(value)} characters; at most {LONGEST_TEXT} are taken."
    if not value.isascii() and not _storable(value):
        return f"field {field.name!r} holds half of a surrogate pair, which is not text; send valid Unicode."
    if field.domain is not None and value not in field.domain:
        known = ", ".join(sorted(field.domain)[:20])
        return (
            f"field {field.name!r} is {_show(value)}; the contract allows only {known}{_nearest(value, field.domain)}."
        )
    return None


def _storable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _unknown(check: RowCheck, name: object) -> str:
    features = [known for known, field in check.fields.items() if field.role == "feature"]
    if not isinstance(name, str):
        return f"a field's name must be text, not {_show(name)}."
    return f"field {_show(name)} is unknown{_nearest(name, features)}; the fields are {', '.join(features[:50])}."


def _left_out(check: RowCheck, row: dict[str, Any]) -> str:
    absent = [name for name in check.fields if name in check.mentioned and name not in row]
    null = "" if check.fields[absent[0]].required else "; send null if it is not known"
    return f"field {absent[0]!r} is missing{null}."


def _range(field: FieldCheck) -> str:
    unit = f" {field.unit}" if field.unit else ""
    if math.isinf(field.maximum):
        return f"at least {field.minimum:g}{unit}"
    if math.isinf(field.minimum):
        return f"at most {field.maximum:g}{unit}"
    return f"{field.minimum:g} to {field.maximum:g}{unit}"


def _nearest(value: str, known: Sequence[str] | frozenset[str]) -> str:
    close = difflib.get_close_matches(value[:200], list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _show(value: object) -> str:
    """A value for a message, never longer than a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


_BY_TYPE: dict[str, Callable[[FieldCheck, Any], str | None]] = {
    "number": _refuse_number,
    "integer": _refuse_number,
    "string": _refuse_text,
    "boolean": _refuse_boolean,
    "empty": _refuse_nested,
}
