"""`{{$...}}` placeholders in constants, arguments, environment and metadata; kfp/dsl/__init__.py lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PLACEHOLDER = re.compile(r"\{\{\$(?:\.([^{}]*))?\}\}")
_KEYED = re.compile(r"(inputs|outputs)\.(parameters|artifacts)\[(?:'([^']*)'|\"([^\"]*)\")\](.*)", re.DOTALL)
_METADATA = re.compile(r"\.metadata(?:\[(?:'([^']*)'|\"([^\"]*)\")\])?")

_ADDRESSES = (".uri", ".path", ".name")
_OUTPUT_FILES = ("outputs.output_file", "outputMetadataUri")


class PlaceholderError(ValueError):
    """A placeholder that has no value here."""


@dataclass(frozen=True)
class Names:
    """What the placeholders of one task are replaced with."""

    run_name: str
    run_id: str
    task_name: str
    task_id: str
    root: str
    created: str  # ISO 8601
    workspace: str = ""

    def table(self) -> Mapping[str, str]:
        """Placeholder name to its value."""
        told = {
            "pipeline_job_name": self.run_name,
            "pipeline_job_resource_name": self.run_name,
            "pipeline_job_uuid": self.run_id,
            "pipeline_task_name": self.task_name,
            "pipeline_task_uuid": self.task_id,
            "pipeline_root": self.root,
            "pipeline_job_create_time_utc": self.created,
            "pipeline_job_schedule_time_utc": self.created,
        }
        return {**told, "workspace_path": self.workspace} if self.workspace else told


_KNOWN = frozenset({*Names("", "", "", "", "", "", "somewhere").table(), *_OUTPUT_FILES})


def unsupported(value: Any) -> Iterator[str]:
    """Placeholders in texts that mean nothing here, whatever the run."""
    if isinstance(value, str):
        for found in _PLACEHOLDER.finditer(value):
            name = found.group(1)
            keyed = _KEYED.fullmatch(name or "")
            if keyed:
                rest, parameter = keyed.group(5), keyed.group(2) == "parameters"
                known = not rest if parameter else rest in _ADDRESSES or _METADATA.fullmatch(rest) is not None
            else:
                known = name is None or name in _KNOWN
            if not known:
                yield found.group()
    elif isinstance(value, Mapping):
        for each in (*value.keys(), *value.values()):
            yield from unsupported(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from unsupported(each)


def resolve(value: Any, told: Mapping[str, Any], names: Names) -> Any:
    """`value` with every placeholder in its texts replaced; `told` is the executor input. Raises PlaceholderError."""
    if isinstance(value, str):
        if "{{$" not in value:
            return value
        return _PLACEHOLDER.sub(lambda found: _text(found, told, names), value)
    if isinstance(value, list):
        return [resolve(one, told, names) for one in value]
    if isinstance(value, dict):
        return {resolve(name, told, names): resolve(one, told, names) for name, one in value.items()}
    return value


def _text(found: re.Match[str], told: Mapping[str, Any], names: Names) -> str:
    name = found.group(1)
    if name is None:
        return json.dumps(told)
    table = names.table()
    if name in table:
        return table[name]
    if name in _OUTPUT_FILES:
        return str(told["outputs"]["outputFile"])
    keyed = _KEYED.fullmatch(name)
    if not keyed:
        raise PlaceholderError(f"the placeholder {found.group()} has no meaning here")
    try:
        return _keyed(keyed, told)
    except (KeyError, IndexError):
        raise PlaceholderError(f"the placeholder {found.group()} names something that has no value") from None


def _keyed(keyed: re.Match[str], told: Mapping[str, Any]) -> str:
    side, kind, key, rest = keyed.group(1), keyed.group(2), keyed.group(3) or keyed.group(4) or "", keyed.group(5)
    if kind == "parameters":
        if side == "outputs":
            return str(told["outputs"]["parameters"][key]["outputFile"])
        value = told["inputs"]["parameterValues"][key]
        if rest:
            raise KeyError(rest)
        return value if isinstance(value, str) else json.dumps(value)
    artifact = told[side]["artifacts"][key]["artifacts"][0]
    if rest in {".uri", ".path"}:
        return str(artifact["uri"])
    if rest == ".name":
        return str(artifact["name"])
    metadata = _METADATA.fullmatch(rest)
    if not metadata:
        raise KeyError(rest)
    value = artifact["metadata"]
    if metadata.group(1) or metadata.group(2):
        value = value[metadata.group(1) or metadata.group(2)]
    return value if isinstance(value, str) else json.dumps(value)
