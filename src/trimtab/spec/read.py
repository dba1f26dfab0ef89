"""Reading a loop.yaml: a ModelLoop, or every problem at once with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trimtab.errors import DocumentRefused
from trimtab.spec import followups, tree
from trimtab.spec.document import ModelLoop
from trimtab.spec.explain import MOST_EXPLAINED, Finding, explain
from trimtab.spec.problems import Loc, Problem, dotted, refused
from trimtab.spec.rules import contradictions
from trimtab.spec.tree import Tree, Unreadable

MOST_PROBLEMS = 100
_FREE = ("spec", "training", "parameters")  # here nothing (null) is a value that an estimator may want
_ESCAPES = {
    chr(code).encode(): b"\\u%04x" % code for code in (*range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF)
}
_PAIR = re.compile(rb"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def load(path: Path) -> ModelLoop:
    """The document in the file; raises DocumentRefused naming every problem with its line."""
    return _whole(_content(path), str(path))


def loads(text: str, name: str = "loop.yaml") -> ModelLoop:
    """The document in the text (YAML or JSON); raises DocumentRefused. `name` is how errors call it."""
    return _whole(text.encode(errors="surrogatepass"), name)


def problems(path: Path) -> tuple[Problem, ...]:
    """What is wrong with the file, in the order of its lines; raises DocumentRefused if it cannot be opened."""
    return check(_content(path))[1]


def check(content: bytes) -> tuple[ModelLoop | None, tuple[Problem, ...]]:
    """The document, or None and what is wrong with it (at most MOST_PROBLEMS and a word that there are more)."""
    try:
        found = tree.read(_as_yaml(content))
    except Unreadable as unreadable:
        return None, (unreadable.problem,)
    value = _given(found.value)
    loop, findings = _validated(value)
    if loop is not None:
        findings = _contradictions(loop)
    else:
        findings = followups.said_once(value, found.value, findings)
        rest, _ = _validated(followups.rest(value, findings))
        if rest is not None:
            findings += [one for one in _contradictions(rest) if not followups.follows(one, value, findings)]
    placed = tuple(sorted({_placed(finding, found) for finding in findings}))
    return (None if placed else loop), _bounded(placed)


def _bounded(placed: tuple[Problem, ...]) -> tuple[Problem, ...]:
    if len(placed) <= MOST_PROBLEMS:
        return placed
    after = placed[MOST_PROBLEMS]
    return (*placed[:MOST_PROBLEMS], Problem(after.line, after.column, "", "more problems follow; mend these first"))


def _as_yaml(content: bytes) -> bytes:
    """Makes JSON YAML, which it almost is: a character beyond U+FFFF is two escapes in JSON (a surrogate pair) and one
    of eight digits in YAML; and some characters that may stand in JSON's text break YAML's lines or are refused there.
    """
    if not content.lstrip().startswith(b"{"):
        return content

    def joined(pair: re.Match[bytes]) -> bytes:
        high, low = int(pair[2], 16), int(pair[3], 16)
        return pair[1] + b"\\U%08x" % (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))

    for raw, escape in _ESCAPES.items():
        content = content.replace(raw, escape)
    return _PAIR.sub(joined, content)


def _contradictions(loop: ModelLoop) -> list[Finding]:
    return list(islice(contradictions(loop), MOST_EXPLAINED))


def _whole(content: bytes, name: str) -> ModelLoop:
    loop, wrong = check(content)
    if loop is None:
        raise refused(name, wrong)
    return loop


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(tree.LARGEST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DocumentRefused(
            f"{path}: {reason}. Give the path of a loop.yaml, or make one with: trimtab init"
        ) from error


def _validated(value: Any) -> tuple[ModelLoop | None, list[Finding]]:
    """Strictly, as the API server of a cluster would: a number in quotes is text."""
    try:
        return ModelLoop.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, list(explain(error, value))


def _given(value: Any, loc: Loc = ()) -> Any:
    """The value without keys that hold nothing: `features:` with all its keys commented out is as good as absent."""
    if isinstance(value, dict):
        kept = {name: _given(child, (*loc, name)) for name, child in value.items()}
        return kept if loc[:3] == _FREE else {name: child for name, child in kept.items() if child is not None}
    if isinstance(value, list):
        return [_given(child, (*loc, index)) for index, child in enumerate(value)]
    return value


def placed(path: Path, findings: Iterable[Finding]) -> tuple[Problem, ...]:
    """Findings of somebody else on a file that can be read, with their lines."""
    found = tree.read(_as_yaml(_content(path)))
    return tuple(sorted({_placed(finding, found) for finding in findings}))


def _placed(finding: Finding, found: Tree) -> Problem:
    place = found.place(finding.loc, of_key=finding.of_key)
    return Problem(
        place.line,
        place.column,
        dotted(finding.loc),
        finding.message,
        finding.found,
        finding.expected,
        finding.suggestion,
    )


def source_lines(path: Path) -> Iterator[str]:
    """The lines of a file that was read, for showing what is wrong in its place."""
    yield from _content(path).decode("utf-8-sig", errors="replace").splitlines()
