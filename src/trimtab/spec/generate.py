"""`python -m trimtab.spec.generate [--check]`: JSON schema, reference page and CRD, made from the models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trimtab.spec import crd
from trimtab.spec.document import LoopSpec, ModelLoop
from trimtab.spec.metrics import KNOWN
from trimtab.spec.section import format_duration

SMALLEST = """\
apiVersion: trimtab.dev/v1alpha1
kind: ModelLoop
metadata: {name: orders}
spec:
  scope: {problem: classification}
  data:
    source: {path: orders.csv}
    time: {column: at}
    label: {column: fraud}
"""
_HEAD = """\
# loop.yaml

Made by `python -m trimtab.spec.generate` from `src/trimtab/spec/`; edit there. The JSON schema is
[loop.schema.json](loop.schema.json).

A `ModelLoop` describes a model product for its whole life. The smallest useful one:

```yaml
{smallest}```

Check one with `trimtab validate loop.yaml`: every problem at once, with its line, what was found, what was expected and
the nearest right key. Exit code 0 or 2. `--json` gives a list with `line`, `column`, `path`, `message`, `found`,
`expected`, `suggestion`.

It is read as YAML 1.2 without tags: `on`, `yes` and dates are text. At most 1 MiB, 20,000 values, 32 levels. A duration
is a number and a unit, such as `30s`, `15m`, `6h`, `90d`, `2w`, `4y` (365 days each), also together: `1h30m`; at most
`200y`. Shares are 0 to 1, percentages whole numbers.
"""


def schema() -> str:
    """The JSON schema of the document."""
    found = ModelLoop.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=2) + "\n"


def page() -> str:
    """The reference page."""
    out = [_HEAD.format(smallest=SMALLEST)]
    for name, field in LoopSpec.model_fields.items():
        out += _tables(field.alias or name, field)
    out += ["## Metrics\n", "| name | kind | problem | better | meaning |", "|---|---|---|---|---|"]
    for metric in KNOWN.values():
        better = "higher" if metric.higher_is_better else "lower"
        problems = ", ".join(metric.problems)
        out.append(f"| `{metric.name}` | {metric.kind} | {problems} | {better} | {metric.meaning} |")
    return "\n".join(out) + "\n"


def _tables(path: str, field: FieldInfo, depth: int = 2) -> Iterator[str]:
    """A heading and a table of this section, then those of the sections in it."""
    model = _model(field.annotation)
    if model is None:
        return
    yield f"{'#' * depth} {path}\n"
    yield f"{field.description or (model.__doc__ or '').strip()}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for name, part in model.model_fields.items():
        key = part.alias or name
        meaning = (part.description or "").replace("|", "\\|")
        yield f"| `{key}` | {_type(part)} | {_default(part)} | {meaning} |"
    yield ""
    for name, part in model.model_fields.items():
        suffix = (
            "[]" if get_origin(part.annotation) is tuple else ".NAME" if get_origin(part.annotation) is dict else ""
        )
        yield from _tables(f"{path}.{part.alias or name}{suffix}", part, depth=3)


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)


def _type(field: FieldInfo) -> str:
    return _named(field.annotation)


def _named(annotation: Any) -> str:
    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part is not type(None)]
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in parts)
    if origin is tuple:
        return f"list of {_named(parts[0])}"
    if origin is dict:
        return f"mapping of {_named(parts[1])}"
    if parts:
        return " or ".join(_named(part) for part in parts)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    words = {str: "text", int: "integer", float: "number", bool: "boolean", timedelta: "duration"}
    return words.get(annotation, "anything")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if field.annotation is timedelta:
        return f"`{value}`"  # written as in the document
    return f"`{json.dumps(value)}`" if value not in ((), {}, "") else ""


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` say which are stale; returns the exit code."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "docs").is_dir():
        print(f"{root / 'docs'} is not there: run this in a checkout of trimtab", file=sys.stderr)
        return 2
    stale = []
    files = {
        "docs/loop.schema.json": schema,
        "docs/loop-yaml.md": page,
        f"helm/trimtab/crds/{crd.NAME}.yaml": crd.text,
    }
    for name, made in files.items():
        path, text = root / name, made()
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if "--check" in arguments and stale:
        print(f"stale: {', '.join(stale)}. Write them again with: python -m trimtab.spec.generate", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
