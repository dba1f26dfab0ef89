"""The CRD takes what trimtab takes, refuses what types and CEL can refuse, and keeps Kubernetes' rules for schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from structural_rules import broken, defaulted, nodes, unknown

from trimtab.spec import crd, tree
from trimtab.spec.crd_rules import MORE, RULES
from trimtab.spec.document import ModelLoop
from trimtab.spec.generate import SMALLEST, page
from trimtab.spec.read import loads
from trimtab.spec.section import parse_duration

ROOT = Path(__file__).parents[2]
SCHEMA = crd.schema()
EXAMPLES = [
    SMALLEST,
    *(path.read_text() for path in sorted(ROOT.glob("examples/*/loop.yaml"))),
    *re.findall(r"```yaml\n(.*?)```", page(), re.S),
]


def _paths(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from _paths(child, f"{path}.{name}".lstrip("."))
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _paths(schema["additionalProperties"], path + "{}")
    if "items" in schema:
        yield from _paths(schema["items"], path + "[]")


def refusals(text: str) -> list[str]:
    """What an API server would say, CEL aside."""
    document = tree.read(text.encode()).value
    ready = defaulted(document, SCHEMA)
    said = [error.message for error in jsonschema.Draft4Validator(SCHEMA).iter_errors(ready)]
    said += [f"unknown field {one}" for one in unknown(document, SCHEMA)]
    for path, value, schema in nodes(ready, SCHEMA):
        kind = schema.get("x-kubernetes-list-type")
        if kind in ("set", "map") and isinstance(value, list):
            told = [str(one.get(*schema["x-kubernetes-list-map-keys"])) if kind == "map" else one for one in value]
            said += [f"{path}: duplicate value"] * (len(told) != len(set(told)))
    return said


def test_the_schema_is_structural() -> None:
    assert list(broken(SCHEMA)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "object", "additionalProperties": False},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"$ref": "#/x"}}},
        {"type": "object", "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "integer", "exclusiveMinimum": 3}}},
        {
            "type": "object",
            "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
        },
    ],
)
def test_the_checker_of_structural_rules_sees_what_breaks_them(wrong: dict[str, Any]) -> None:
    assert list(broken(wrong))


@pytest.mark.parametrize("text", EXAMPLES)
def test_right_documents_are_taken_and_defaults_do_not_change_their_meaning(text: str) -> None:
    assert refusals(text) == []
    filled = defaulted(tree.read(text.encode()).value, SCHEMA)
    assert loads(yaml.safe_dump(filled)).model_dump() == loads(text).model_dump()


def test_the_defaults_are_those_of_the_models() -> None:
    filled = defaulted(tree.read(SMALLEST.encode()).value, SCHEMA)
    every = ModelLoop.model_validate(loads(SMALLEST)).model_dump(mode="json", by_alias=True)["spec"]

    def compare(here: Any, there: Any, path: str) -> None:
        if isinstance(here, dict):
            for name, child in here.items():
                compare(child, there[name], f"{path}.{name}")
        elif here != there:
            assert parse_duration(here) == parse_duration(there), path

    compare(filled["spec"], every, "spec")
    assert filled["spec"]["release"]["steps"] == [5, 25, 50]
    assert filled["spec"]["monitoring"]["window"] == "7d"


def test_defaults_pass_their_own_schema() -> None:
    for path, node in _paths(SCHEMA):
        if "default" in node:
            found = defaulted(node["default"], node)
            errors = [error.message for error in jsonschema.Draft4Validator(node).iter_errors(found)]
            assert not errors, path


def test_every_rule_and_bound_belongs_to_a_place() -> None:
    assert set(RULES) | set(MORE) <= {path for path, _ in _paths(SCHEMA)}


def test_unknown_fields_are_kept_at_one_place_only() -> None:
    kept = [path for path, node in _paths(SCHEMA) if "x-kubernetes-preserve-unknown-fields" in node]
    assert kept == ["spec.training.parameters"]


def test_every_key_has_a_sentence() -> None:
    without = [path for path, node in _paths(SCHEMA) if not node.get("description")]
    ours = [path for path in without if not path.endswith(("[]", "{}")) and not path.startswith("metadata")]
    assert ours == []


def test_yaml_1_1_reads_the_file_as_it_was_meant() -> None:
    path = ROOT / f"helm/trimtab/crds/{crd.NAME}.yaml"
    assert yaml.safe_load(path.read_text()) == crd.definition()
    names = {name for _, node in _paths(SCHEMA) for name in node.get("properties", {})}
    assert not [name for name in names if not isinstance(yaml.safe_load(name), str)]


def test_the_columns_read_what_the_status_has() -> None:
    columns = crd.definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [one["name"] for one in columns if "priority" not in one] == [
        *("Phase", "Champion", "Challenger", "Traffic", "Drift", "Age")
    ]
    known = {f".{path}" for path, _ in _paths(SCHEMA)} | {".metadata.creationTimestamp"}
    assert {one["jsonPath"] for one in columns} <= known


def test_it_is_small_enough_for_a_client_side_apply() -> None:
    assert len(crd.text()) < 262_144, "kubectl apply keeps the whole object in an annotation of at most 256 KiB"
