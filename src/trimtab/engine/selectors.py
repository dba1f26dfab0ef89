"""`parseJson(string_value)["field"]`: how the IR takes one field of a loop item. Nothing else is understood."""

from __future__ import annotations

import json
import re
from typing import Any

_SELECTOR = re.compile(r'parseJson\(string_value\)((?:\[(?:"(?:[^"\\]|\\.)*"|\d+)\])*)')
_STEP = re.compile(r'\[("(?:[^"\\]|\\.)*"|\d+)\]')


class SelectorError(ValueError):
    """A selector that is not understood, or a field that is not there."""


def check_selector(text: str) -> None:
    """Raise SelectorError unless it is understood; "" selects the whole."""
    if text and not _SELECTOR.fullmatch(text):
        raise SelectorError(f"parameterExpressionSelector {text!r} is not understood")


def select(value: Any, text: str) -> Any:
    """The part of `value` that the selector means; raises SelectorError."""
    found = _SELECTOR.fullmatch(text)
    if not text or not found:
        check_selector(text)
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise SelectorError(f"{value[:60]!r} is no JSON, so {text} has no value") from None
    for step in _STEP.findall(found.group(1)):
        key: Any = json.loads(step)
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise SelectorError(f"there is no field {key!r} in {str(value)[:60]}") from None
    return value
