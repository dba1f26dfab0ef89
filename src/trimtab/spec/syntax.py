"""What is no YAML, said in the line where a person has to mend it, which is seldom where the parser gives up."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from trimtab.spec.problems import Problem, shown

_OPEN_QUOTE = re.compile(r"""(?:^|[-:\[{,])\s*("(?:[^"\\]|\\.)*|'[^']*)$""")
_WORD = re.compile(r"\s*(?:- )?[\w.-]+\s*")


@dataclass(frozen=True)
class Place:
    """Where something begins; both count from 1."""

    line: int
    column: int


class Unreadable(Exception):
    """The text cannot be made a tree."""

    def __init__(self, place: Place, message: str, **more: str) -> None:
        super().__init__(message)
        self.problem = Problem(place.line, place.column, more.pop("path", ""), message, **more)


def syntax_error(error: yaml.YAMLError, text: str) -> Unreadable:
    """The error with its place."""
    mark, around = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    lines = text.split("\n")
    if mark is None:
        return Unreadable(Place(1, 1), f"not YAML: {said}")
    place = Place(min(mark.line, len(lines) - 1) + 1, mark.column + 1)
    before = lines[place.line - 1]
    if "\t" in before[: mark.column + 1]:
        return Unreadable(
            Place(place.line, before.index("\t") + 1), "a tab", expected="spaces: YAML allows no tabs here"
        )
    begun = None if around is None else Place(around.line + 1, around.column + 1)
    within = str(getattr(error, "context", None) or "")
    return (
        _unclosed(lines, begun, place, within)
        or _colonless(lines, begun, place, within, said)
        or Unreadable(place, f"not YAML: {said}", expected="two spaces a level, `key: value`")
    )


def _unclosed(lines: list[str], begun: Place | None, place: Place, within: str) -> Unreadable | None:
    """A quote or bracket that is opened and not closed: the fault is where it opens."""
    if begun is not None and "quoted scalar" in within:
        return Unreadable(begun, "a quote is opened here and not closed", expected="the same quote at the text's end")
    for number in range(begun.line if begun else place.line, place.line + 1):
        quote = _OPEN_QUOTE.search(lines[number - 1]) if number <= len(lines) else None
        if quote:
            at = Place(number, quote.start(1) + 1)
            return Unreadable(at, "a quote is opened here and not closed", expected="the same quote at the text's end")
    if begun is not None and "flow" in within:
        bracket = "[" if "sequence" in within else "{"
        close = {"[": "]", "{": "}"}[bracket]
        later = "" if place.line == begun.line else f" before line {place.line}"
        return Unreadable(begun, f"`{bracket}` is opened here and not closed{later}", expected=f"`,` or `{close}`")
    return None


def _colonless(lines: list[str], begun: Place | None, place: Place, within: str, said: str) -> Unreadable | None:
    """A key without its colon: the parser takes it and what follows for one text, and stumbles later."""
    if "simple key" in within and begun is not None:
        word = lines[begun.line - 1].strip()
        return Unreadable(begun, f"a colon is missing after {shown(word)}", expected="`key: value`")
    if "mapping values are not allowed" in said and place.line > 1:
        number = place.line - 1
        while number > 1 and not lines[number - 1].strip():
            number -= 1
        line = lines[number - 1]
        if _WORD.fullmatch(line):
            column = len(line) - len(line.lstrip()) + 1
            return Unreadable(
                Place(number, column), f"a colon is missing after {shown(line.strip())}", expected="`key:`"
            )
    return None
