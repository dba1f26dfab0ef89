"""The CustomResourceDefinition of ModelLoop, made from the models.

A structural schema (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/):
no references, no alternatives, unknown keys are the API server's to refuse. A null counts as absent there and here.
"""

from __future__ import annotations

from typing import Any

import yaml

from trimtab.spec.crd_rules import DECIDED_LATER, MORE, validations
from trimtab.spec.crd_status import COLUMNS, STATUS
from trimtab.spec.document import ModelLoop

Json = dict[str, Any]

GROUP, VERSION, PLURAL = "trimtab.dev", "v1alpha1", "modelloops"
NAME = f"{PLURAL}.{GROUP}"
_HEAD = "# Made by `python -m trimtab.spec.generate` from src/trimtab/spec/; edit there.\n"
_KEPT = ("description", "pattern", "enum", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")
_LONGEST_DURATION = 64


class _Writer(yaml.SafeDumper):
    """Never writes an alias: a schema is read by people."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - as PyYAML calls it
        return True


def text() -> str:
    """The CRD as YAML."""
    return _HEAD + yaml.dump(definition(), Dumper=_Writer, sort_keys=False, width=120, allow_unicode=True)


def definition() -> Json:
    """The CRD as plain values."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Without this Helm's uninstall of a chart that templates the CRD would take every loop with it.
        "metadata": {"name": NAME, "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "ModelLoop",
                "listKind": "ModelLoopList",
                "plural": PLURAL,
                "singular": "modelloop",
                "shortNames": ["loop"],
                "categories": ["trimtab"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": COLUMNS,
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> Json:
    """The structural schema of a ModelLoop."""
    given = ModelLoop.model_json_schema(by_alias=True)
    parts = given["properties"]
    name = given["$defs"]["Metadata"]["properties"]["name"]
    spec = _structural(parts["spec"], given["$defs"], "spec")
    return {
        "type": "object",
        "description": "One model product, from scope to retraining. Every key: docs/loop-yaml.md.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "trimtab.dev/v1alpha1"},
            "kind": {"type": "string", "description": "ModelLoop"},
            # Of metadata a CRD may bound the name only.
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string", "pattern": name["pattern"], "maxLength": 63}},
            },
            "spec": spec,
            "status": STATUS,
        },
    }


def _structural(node: Json, known: Json, path: str) -> Json:
    """One node with what it refers to put in its place."""
    node = _resolved(node, known)
    made: Json = {"type": node["type"]}
    made |= {key: node[key] for key in _KEPT if key in node}
    if "const" in node:
        made["enum"] = [node["const"]]
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if key in node:
            made |= {bound: node[key], key: True}  # OpenAPI 3.0 says it with a boolean
    if made["type"] == "integer":
        made["format"] = "int64"
    if "examples" in node:  # a duration
        made["maxLength"] = _LONGEST_DURATION
    made |= _children(node, known, path)
    default = _default(node, path)
    if default is not None:
        made["default"] = default
    made |= MORE.get(path, {})
    if rules := validations(path):
        made["x-kubernetes-validations"] = rules
    return made


def _resolved(node: Json, known: Json) -> Json:
    """The node without $ref and without `or null`; what is said at the place of use wins."""
    if "anyOf" in node:
        (choice,) = [one for one in node["anyOf"] if one.get("type") != "null"]
        node = {**choice, **{key: value for key, value in node.items() if key != "anyOf"}}
    if "$ref" in node:
        found = known[node["$ref"].rpartition("/")[2]]
        node = {**found, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _children(node: Json, known: Json, path: str) -> Json:
    if "properties" in node:
        parts = {name: _structural(child, known, f"{path}.{name}") for name, child in node["properties"].items()}
        return {"properties": parts, **({"required": node["required"]} if "required" in node else {})}
    more = node.get("additionalProperties")
    if isinstance(more, dict):
        return {"additionalProperties": _structural(more, known, path + "{}")}
    if more is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    if "items" in node:
        return {"items": _structural(node["items"], known, path + "[]")}
    return {}


def _default(node: Json, path: str) -> Any:
    """What the API server fills in. A section is filled in empty: its own keys have their own defaults."""
    default = node.get("default")
    if path in DECIDED_LATER or default in (None, "", []):
        return None
    return {} if isinstance(default, dict) else default
