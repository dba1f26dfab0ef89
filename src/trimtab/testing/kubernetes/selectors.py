"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.testing.kubernetes.refusal import ApiRefused

Matches = Callable[[Mapping[str, Any]], bool]
_SET = re.compile(r"^\s*(\S+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=]+)\s*(==|=|!=)\s*([^\s]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=,()]+)\s*$")


def by_labels(text: str) -> Matches:
    """`a=b,c!=d,e in (f,g),h,!i` over metadata.labels."""
    tests = [_label_test(part) for part in re.split(r",(?![^(]*\))", text) if part.strip()]

    def matches(found: Mapping[str, Any]) -> bool:
        labels = found["metadata"].get("labels") or {}
        return all(test(labels) for test in tests)

    return matches


def label_of(text: str) -> tuple[str, str] | None:
    """A label and the value that whatever matches must have, if the selector names one."""
    for part in text.split(","):
        if (found := _EQUAL.match(part)) and found[2] != "!=":
            return found[1], found[3]
    return None


def by_fields(text: str) -> Matches:
    """`metadata.name=a,status.phase!=Running`: any plain path, unlike a real server, which knows a few only."""
    tests = []
    for part in text.split(","):
        if not part.strip():
            continue
        found = _EQUAL.match(part)
        if found is None:
            raise ApiRefused(400, f"invalid field selector {part!r}")
        tests.append((found[1].split("."), found[2], found[3]))

    def matches(value: Mapping[str, Any]) -> bool:
        return all((_at(value, path) == wanted) == (sign != "!=") for path, sign, wanted in tests)

    return matches


def _label_test(part: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(part):
        key, word, values = found[1], found[2], {one.strip() for one in found[3].split(",")}
        return lambda labels: (labels.get(key) in values) == (word == "in")
    if found := _EQUAL.match(part):
        key, sign, value = found[1], found[2], found[3]
        return lambda labels: (labels.get(key) == value) == (sign != "!=")
    if found := _EXISTS.match(part):
        absent, key = bool(found[1]), found[2]
        return lambda labels: (key in labels) != absent
    raise ApiRefused(400, f"unable to parse requirement: {part!r}")


def _at(value: Any, path: list[str]) -> str:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
