"""The rules that apiextensions.k8s.io/v1 has for a structural schema, as far as a schema alone can break them.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_KNOWN = {
    *("type", "format", "description", "title", "default", "example", "enum", "nullable", "pattern", "required"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "properties", "additionalProperties", "items"),
    *("allOf", "anyOf", "oneOf", "not"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string", "x-kubernetes-embedded-resource"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-validations"),
}
_TYPES = {"object", "array", "string", "integer", "number", "boolean"}


def broken(schema: Json, path: str = "") -> Iterator[str]:
    """Every rule that the schema breaks, with its place."""
    at = path or "the root"
    unknown = set(schema) - _KNOWN
    if unknown:
        yield f"{at}: no such keys in JSONSchemaProps: {sorted(unknown)}"
    if schema.get("type") not in _TYPES and not schema.get("x-kubernetes-int-or-string"):
        yield f"{at}: a type is wanted"
    if any(key in schema for key in ("allOf", "anyOf", "oneOf", "not")):
        yield f"{at}: this project writes no alternatives"
    yield from _of_object(schema, at)
    yield from _of_array(schema, at)
    for key in ("exclusiveMinimum", "exclusiveMaximum", "nullable"):
        if key in schema and not isinstance(schema[key], bool):
            yield f"{at}: {key} is a boolean"
    if not path:
        yield from _of_root(schema)
    for rule in schema.get("x-kubernetes-validations", []):
        if not rule.get("rule", "").strip() or not rule.get("message", "").strip() or "\n" in rule["message"]:
            yield f"{at}: a rule needs an expression and a message of one line"
    yield from _of_children(schema, path)


def _of_object(schema: Json, at: str) -> Iterator[str]:
    more = schema.get("additionalProperties")
    if more is False:
        yield f"{at}: additionalProperties: false is not allowed"
    if more is not None and schema.get("properties"):
        yield f"{at}: properties and additionalProperties exclude each other"
    if more is True:
        yield f"{at}: x-kubernetes-preserve-unknown-fields is meant"
    for name in schema.get("required", []):
        if name not in schema.get("properties", {}):
            yield f"{at}: {name} is required but not specified"


def _of_array(schema: Json, at: str) -> Iterator[str]:
    if schema.get("type") == "array" and not isinstance(schema.get("items"), dict):
        yield f"{at}: items must be one schema"
    if "uniqueItems" in schema:
        yield f"{at}: uniqueItems is not allowed"
    if schema.get("x-kubernetes-list-type") == "map":
        item = schema["items"]
        for key in schema.get("x-kubernetes-list-map-keys") or [""]:
            if key not in item.get("properties", {}):
                yield f"{at}: the key {key!r} of the list is not specified"
            elif key not in item.get("required", []) and "default" not in item["properties"][key]:
                yield f"{at}: the key {key!r} of the list must be required or have a default"
    if schema.get("x-kubernetes-list-type") == "set" and schema["items"]["type"] in ("object", "array"):
        yield f"{at}: a set holds scalars"


def _of_root(schema: Json) -> Iterator[str]:
    properties = schema.get("properties", {})
    if schema.get("type") != "object":
        yield "the root must be an object"
    for name in ("apiVersion", "kind"):
        if set(properties.get(name, {"type": ""})) - {"type", "description"}:
            yield f"{name} must not be restricted"
    metadata = properties.get("metadata", {})
    if set(metadata.get("properties", {})) - {"name", "generateName"} or set(metadata) - {"type", "properties"}:
        yield "of metadata only name and generateName can be restricted"
    if "default" in metadata:
        yield "metadata has no default"


def _of_children(schema: Json, path: str) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        yield from broken(child, f"{path}.{name}")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from broken(schema["additionalProperties"], path + "{}")
    if isinstance(schema.get("items"), dict):
        yield from broken(schema["items"], path + "[]")


def defaulted(value: Any, schema: Json) -> Any:
    """As the API server does: nulls and missing keys become the default, other nulls go."""
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        kept = {name: child for name, child in value.items() if child is not None or name not in properties}
        for name, inner in properties.items():
            if name not in kept and "default" in inner:
                kept[name] = inner["default"]
        more = schema.get("additionalProperties", {})
        return {name: defaulted(child, properties.get(name, more)) for name, child in kept.items()}
    if isinstance(value, list):
        return [defaulted(child, schema.get("items", {})) for child in value]
    return value


def unknown(value: Any, schema: Json, path: str = "") -> Iterator[str]:
    """Keys that strict field validation (kubectl's default) refuses."""
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if path == ".metadata" or (path == "" and name == "metadata"):
                continue
            if inner is None:
                yield f"{path}.{name}"
            else:
                yield from unknown(child, inner, f"{path}.{name}")
    if isinstance(value, list):
        for child in value:
            yield from unknown(child, schema.get("items", {}), path + "[]")


def nodes(value: Any, schema: Json, path: str = "") -> Iterator[tuple[str, Any, Json]]:
    """Every value with the schema that holds for it."""
    yield path, value, schema
    if isinstance(value, dict):
        for name, child in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(inner, dict):
                yield from nodes(child, inner, f"{path}.{name}")
    if isinstance(value, list):
        for child in value:
            yield from nodes(child, schema.get("items", {}), path + "[]")
