"""Structural schemas of custom resources: defaults, pruning of unknown fields, validation. CEL rules are not run."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

Problems = Iterator[tuple[str, str]]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_OPEN = "x-kubernetes-preserve-unknown-fields"


def defaulted(value: Any, schema: Mapping[str, Any]) -> Any:
    """A copy with the schema's defaults where a key is missing; a null that is not nullable counts as missing."""
    if isinstance(value, dict):
        found = dict(value)
        for name, inner in (schema.get("properties") or {}).items():
            if found.get(name, "") is None and not inner.get("nullable") and "default" in inner:
                del found[name]
            if name not in found and "default" in inner:
                found[name] = deepcopy(inner["default"])
        return {name: defaulted(child, _of_key(schema, name)) for name, child in found.items()}
    if isinstance(value, list):
        return [defaulted(child, schema.get("items") or {}) for child in value]
    return value


def pruned(value: Any, schema: Mapping[str, Any], path: str = "", lost: list[str] | None = None) -> Any:
    """A copy without fields that the schema does not name; their paths are added to `lost`."""
    if schema.get("x-kubernetes-embedded-resource"):
        known = {**(schema.get("properties") or {}), "apiVersion": {}, "kind": {}, "metadata": {_OPEN: True}}
        schema = {**schema, "properties": known}
    if isinstance(value, dict):
        kept = {}
        for name, child in value.items():
            here = f"{path}.{name}" if path else name
            if _knows(schema, name):
                kept[name] = pruned(child, _of_key(schema, name), here, lost)
            elif schema.get(_OPEN):
                kept[name] = child
            elif lost is not None:
                lost.append(here)
        return kept
    if isinstance(value, list):
        inner = schema.get("items") or {_OPEN: schema.get(_OPEN, False)}
        return [pruned(child, inner, f"{path}[{index}]", lost) for index, child in enumerate(value)]
    return value


def problems(value: Any, schema: Mapping[str, Any], path: str = "") -> Problems:
    """Every way in which the value breaks the schema: (path, message)."""
    if value is None:
        if not schema.get("nullable") and "type" in schema:
            yield path, f"Invalid value: null: must be of type {schema['type']}"
        return
    if not _fits(value, schema):
        yield path, f"Invalid value: {_shown(value)}: must be of type {schema.get('type', 'integer or string')}"
        return
    yield from _of_value(value, schema, path)
    if isinstance(value, dict):
        for name in schema.get("required") or ():
            if name not in value:
                yield f"{path}.{name}" if path else name, "Required value"
        for name, child in value.items():
            yield from problems(child, _of_key(schema, name), f"{path}.{name}" if path else name)
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from problems(child, schema.get("items") or {}, f"{path}[{index}]")
    yield from _of_choices(value, schema, path)


def _of_value(value: Any, schema: Mapping[str, Any], path: str) -> Problems:
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{one}"' for one in schema["enum"])
        yield path, f"Unsupported value: {_shown(value)}: supported values: {supported}"
    size = len(value) if isinstance(value, (str, list, dict)) else value
    least, most = _bounds(value)
    if not isinstance(value, bool):
        if least in schema and (size < schema[least] or (size == schema[least] and schema.get("exclusiveMinimum"))):
            yield path, f"Invalid value: {_shown(value)}: {least} is {schema[least]}"
        if most in schema and (size > schema[most] or (size == schema[most] and schema.get("exclusiveMaximum"))):
            yield path, f"Invalid value: {_shown(value)}: {most} is {schema[most]}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield path, f"Invalid value: {_shown(value)}: should match '{schema['pattern']}'"
    step = schema.get("multipleOf")
    if step and isinstance(value, (int, float)) and not math.isclose(value / step, round(value / step)):
        yield path, f"Invalid value: {_shown(value)}: should be a multiple of {step}"
    if isinstance(value, list) and schema.get("x-kubernetes-list-type") in ("map", "set"):
        keys = schema.get("x-kubernetes-list-map-keys")
        told = [str([one.get(key) for key in keys]) if keys and isinstance(one, dict) else str(one) for one in value]
        yield from ((path, f"Duplicate value: {one}") for one in sorted({one for one in told if told.count(one) > 1}))


def _of_choices(value: Any, schema: Mapping[str, Any], path: str) -> Problems:
    for inner in schema.get("allOf") or ():
        yield from problems(value, inner, path)
    some = () if schema.get("x-kubernetes-int-or-string") else schema.get("anyOf") or ()
    if some and not any(_right(value, inner) for inner in some):
        yield path, f"Invalid value: {_shown(value)}: must validate at least one schema (anyOf)"
    if schema.get("oneOf") and sum(_right(value, inner) for inner in schema["oneOf"]) != 1:
        yield path, f"Invalid value: {_shown(value)}: must validate one and only one schema (oneOf)"
    if schema.get("not") and _right(value, schema["not"]):
        yield path, f"Invalid value: {_shown(value)}: must not validate the schema (not)"


def _right(value: Any, schema: Mapping[str, Any]) -> bool:
    return next(problems(value, schema), None) is None


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, (int, str)) and not isinstance(value, bool)
    kind = schema.get("type")
    if not kind:
        return True
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _bounds(value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        return "minLength", "maxLength"
    if isinstance(value, list):
        return "minItems", "maxItems"
    return ("minProperties", "maxProperties") if isinstance(value, dict) else ("minimum", "maximum")


def _knows(schema: Mapping[str, Any], name: str) -> bool:
    extra = schema.get("additionalProperties")
    return name in (schema.get("properties") or {}) or isinstance(extra, Mapping) or extra is True


def _of_key(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = (schema.get("properties") or {}).get(name)
    if found is None:
        extra = schema.get("additionalProperties")
        found = extra if isinstance(extra, Mapping) else {_OPEN: True} if extra or schema.get(_OPEN) else {}
    return dict(found)


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 100 else text[:100] + "..."
