"""The schema and the reference page follow the models, and their examples are right."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from trimtab.spec.generate import SMALLEST, main, page, schema
from trimtab.spec.read import loads

ROOT = Path(__file__).parents[3]


def test_the_generated_files_are_fresh() -> None:
    assert main(["--check"]) == 0


@pytest.mark.parametrize("text", [SMALLEST, (ROOT / "examples/desert-rodents/loop.yaml").read_text()])
def test_the_schema_takes_right_documents_and_refuses_wrong_keys(text: str) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    document = yaml.safe_load(text)
    assert list(validator.iter_errors(document)) == []
    document["spec"]["bogus"] = 1
    assert list(validator.iter_errors(document)) != []


def test_every_example_on_the_page_is_a_right_document() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", page(), re.S)
    assert examples
    for text in examples:
        loads(text)


def test_every_key_is_on_the_page() -> None:
    text = page()

    def keys(part: dict[str, object]) -> set[str]:
        found = set(part.get("properties", {}))  # type: ignore[call-overload]
        for child in part.get("$defs", {}).values():  # type: ignore[attr-defined]
            found |= keys(child)
        return found

    missing = [key for key in keys(json.loads(schema())) if f"`{key}`" not in text and f"## {key}\n" not in text]
    assert set(missing) <= {"apiVersion", "kind", "metadata", "spec", "name", "namespace", "labels", "annotations"}
