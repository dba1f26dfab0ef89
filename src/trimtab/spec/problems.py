"""One thing that is wrong with a document, and how it is said."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from trimtab.errors import DocumentRefused

Loc = tuple[str | int, ...]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LONGEST_SHOWN = 60


@dataclass(frozen=True, order=True)
class Problem:
    """`line` and `column` count from 1; `path` is as `spec.training.parameters`, empty for the whole file.

    `found` is the value as it stands in the file, `expected` the rule, `suggestion` the nearest right key or value.
    """

    line: int
    column: int
    path: str
    message: str
    found: str = ""
    expected: str = ""
    suggestion: str = ""

    def text(self, name: str) -> str:
        """One line for people: `loop.yaml:12:5  spec.training.parametrs: unknown key; did you mean `parameters`?`."""
        said = self.message
        if self.expected:
            said += f"; expected {self.expected}"
        if self.found:
            said += f", found {self.found}" if self.expected else f": {self.found}"
        if self.suggestion:
            said += f"; did you mean `{self.suggestion}`?"
        where = f"{self.path}: " if self.path else ""
        return f"{name}:{self.line}:{self.column}  {where}{said}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every key always there."""
        return asdict(self)


def refused(name: str, problems: Iterable[Problem]) -> DocumentRefused:
    """The error that shows all problems of the file `name`, in the order of its lines."""
    lines = [problem.text(name) for problem in problems]
    head = f"{name} has {len(lines)} problems" if len(lines) != 1 else f"{name} has a problem"
    return DocumentRefused("\n".join([head, *lines]))


def dotted(loc: Loc) -> str:
    """`("spec", "quality", "gates", 0, "min")` as `spec.quality.gates[0].min`."""
    out = ""
    for part in loc:
        if isinstance(part, int):
            out += f"[{part}]"
        elif _PLAIN.fullmatch(part) and len(part) <= _LONGEST_SHOWN:
            out += f".{part}" if out else part
        else:
            out += f"[{shown(part)}]"
    return out


def shown(value: object) -> str:
    """A value from the file, short enough for a line, with nothing in it that a terminal obeys."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, dict):
        return f"a mapping of {len(value)} keys" if len(value) != 1 else "a mapping of one key"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 2]} …"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or nothing. Case, `_` and `-` do not count as differences."""
    plain = {_squeezed(one): one for one in known}
    wanted = _squeezed(word)
    if wanted in plain:
        return plain[wanted]
    close = difflib.get_close_matches(wanted, plain, 1, 0.65)
    return plain[close[0]] if close else ""


def _squeezed(word: str) -> str:
    return re.sub(r"[_\-\s]", "", word[:_LONGEST_SHOWN]).lower()
