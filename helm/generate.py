"""`python helm/generate.py [--check]`: values.schema.json and the README's table of each chart, made from values.yaml.

In values.yaml every key has a comment of one sentence above it, then perhaps `# @schema {...}`: what the default value
alone does not say (an enum, a bound, the items of a list). Mappings are closed unless they are empty.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
HERE = Path(__file__).parent
CHARTS = ("trimtab", "model-release", "drift-monitor")
_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z0-9_.-]+):(?P<value>.*)")
_TABLE = re.compile(r"(<!-- values -->\n).*?(<!-- /values -->)", re.S)
_TYPES: tuple[tuple[type, str], ...] = ((bool, "boolean"), (int, "integer"), (str, "string"), (list, "array"))


@dataclass
class Value:
    """One key of values.yaml."""

    path: tuple[str, ...]
    default: Any
    sentence: str
    schema: Json
    inner: list[Value] = field(default_factory=list)


class Unsaid(Exception):
    """A key of values.yaml says too little about itself."""


def read(path: Path) -> list[Value]:
    """The values of a chart, in order; raises Unsaid."""
    text = path.read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    top: list[Value] = []
    parents: list[tuple[int, Value]] = []
    comments: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comments.append(stripped[1:].strip())
            continue
        found = _KEY.fullmatch(line)
        if not found:
            comments = []
            continue
        indent = len(found["indent"])
        parents = [one for one in parents if one[0] < indent]
        parent = parents[-1][1] if parents else None
        value = _value((*(parent.path if parent else ()), found["key"]), defaults, comments, path)
        (parent.inner if parent else top).append(value)
        if not found["value"].strip():
            parents.append((indent, value))
        comments = []
    return top


def _value(path: tuple[str, ...], defaults: Any, comments: list[str], file: Path) -> Value:
    for key in path:
        defaults = defaults[key]
    hints = [line.removeprefix("@schema") for line in comments if line.startswith("@schema")]
    sentence = " ".join(line for line in comments if line and not line.startswith("@schema"))
    if not sentence.endswith("."):
        raise Unsaid(f"{file}: {'.'.join(path)} needs a sentence above it")
    schema: Json = yaml.safe_load(hints[0]) if hints else {}
    if not schema and defaults in ({}, [], None):
        raise Unsaid(f"{file}: {'.'.join(path)} is empty: say with @schema what may stand in it")
    return Value(path, defaults, sentence, schema)


def schema_of(values: list[Value]) -> Json:
    """The closed schema of a mapping."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {one.path[-1]: _node(one) for one in values},
    }


def _node(value: Value) -> Json:
    made: Json = {"description": value.sentence}
    if value.inner:
        return {**made, **schema_of(value.inner), **value.schema}
    for kind, name in _TYPES:
        if isinstance(value.default, kind):
            made["type"] = name
            break
    else:
        made["type"] = "object"
    return {**made, **value.schema}


def schema_text(values: list[Value]) -> str:
    """values.schema.json."""
    whole = schema_of(values)
    whole["properties"]["global"] = {"type": "object", "description": "Values that a parent chart shares."}
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **whole}, indent=2) + "\n"


def table(values: list[Value]) -> str:
    """The values as a table of Markdown."""
    return "\n".join(["| value | default | |", "|---|---|---|", *_rows(values)]) + "\n"


def _rows(values: list[Value]) -> Iterator[str]:
    for value in values:
        if value.inner:
            yield f"| **`{'.'.join(value.path)}`** | | {value.sentence} |"
            yield from _rows(value.inner)
            continue
        choices = ", ".join(f"`{one}`" for one in value.schema.get("enum", []) if one != "")
        said = value.sentence + (f" One of {choices}." if choices else "")
        default = json.dumps(value.default) if value.default != "" else ""
        yield f"| `{'.'.join(value.path)}` | {f'`{default}`' if default else ''} | {said.replace('|', '&#124;')} |"


def files(chart: str) -> Iterator[tuple[Path, str]]:
    """What is made for a chart."""
    folder = HERE / chart
    values = read(folder / "values.yaml")
    yield folder / "values.schema.json", schema_text(values)
    readme = folder / "README.md"
    yield readme, _TABLE.sub(lambda found: found[1] + table(values) + found[2], readme.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are stale; returns the exit code."""
    stale = []
    for chart in CHARTS:
        for path, text in files(chart):
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path.relative_to(HERE.parent)))
                if "--check" not in arguments:
                    path.write_text(text, encoding="utf-8")
    if stale:
        print(("stale: " if "--check" in arguments else "wrote: ") + ", ".join(stale))
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
