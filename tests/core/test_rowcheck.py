"""The serving face of the contract: which requests are refused, in which words, and how fast."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.stages.contract import ColumnRule, Contract

CONTRACT = Contract(
    problem="classification",
    rows=1000,
    columns=(
        ColumnRule(name="record", type="string", role="id"),
        ColumnRule(name="year", type="integer", role="time", minimum=1977, maximum=1984),
        ColumnRule(
            name="weight",
            type="number",
            unit="g",
            minimum=1,
            maximum=1000,
            max_missing_share=0,
            stated=("type", "min", "max", "max_missing_share"),
        ),
        ColumnRule(name="hindfoot", type="number", minimum=6, maximum=70),
        ColumnRule(name="sex", type="string", domain=("F", "M"), missing_share=0.1, stated=("domain",)),
        ColumnRule(name="plot", type="string", domain=("Control", "Fenced")),
        ColumnRule(name="trapped", type="boolean", missing_share=0.5),
        ColumnRule(name="count", type="integer", missing_share=0.5, stated=("type",)),
        ColumnRule(name="visits", type="integer", missing_share=0.5),
        ColumnRule(name="notes", type="empty", missing_share=1.0),
        ColumnRule(name="genus", type="string", role="label", domain=("A", "B")),
    ),
)
ROW: dict[str, Any] = {"weight": 40, "hindfoot": 35.5, "sex": "M", "plot": "Control"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"sex": None, "hindfoot": None, "plot": None},
        {"hindfoot": 71.0, "plot": "a new plot type"},  # outside what was only inferred
        {"count": 3.0, "visits": 2.5, "trapped": False, "notes": "x"},
        {"notes": 3, "record": 63, "year": 2002},
        {"weight": np.float64(40), "hindfoot": np.int32(3), "trapped": np.bool_(True)},
        {"plot": "Ünïcode 🐭"},
    ],
)
def test_rows_that_are_answered(change: dict[str, Any]) -> None:
    assert CONTRACT.refuse_row({**ROW, **change}) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wieght": 4}, ["'wieght'", "unknown", "did you mean 'weight'"]),
        ({"_time": "2024-01-01"}, ["'_time'", "unknown"]),
        ({"genus": "A"}, ["'genus'", "what the model predicts"]),
        ({"weight": None}, ["'weight'", "null", "never be missing"]),
        ({"weight": "40"}, ["'weight'", "'40'", "must be a number", "in quotes is text"]),
        ({"weight": True}, ["'weight'", "True", "must be a number"]),
        ({"hindfoot": float("nan")}, ["'hindfoot'", "nan", "finite"]),
        ({"hindfoot": float("-inf")}, ["'hindfoot'", "-inf", "finite"]),
        ({"hindfoot": 10**400}, ["'hindfoot'", "finite"]),
        ({"weight": 0.5}, ["'weight'", "0.5", "1 to 1000 g"]),
        ({"weight": 1000.1}, ["'weight'", "1000.1", "1 to 1000 g"]),
        ({"weight": [40]}, ["'weight'", "[40]", "must be a number"]),
        ({"count": 2.5}, ["'count'", "2.5", "whole number"]),
        ({"sex": "f"}, ["'sex'", "'f'", "only F, M"]),
        ({"plot": 3}, ["'plot'", "3", "must be text"]),
        ({"plot": "x" * 10_001}, ["'plot'", "10001 characters"]),
        ({"plot": "\ud800"}, ["'plot'", "surrogate"]),
        ({"trapped": 1}, ["'trapped'", "1", "true or false"]),
        ({"notes": {}}, ["'notes'", "single value"]),
        ({"notes": float("inf")}, ["'notes'", "finite"]),
    ],
)
def test_rows_that_are_refused(change: dict[str, Any], words: list[str]) -> None:
    sentence = CONTRACT.refuse_row({**ROW, **change})
    assert sentence is not None
    for word in words:
        assert word in sentence
    assert len(sentence) < 400
    json.dumps({"error": sentence}).encode()


@pytest.mark.parametrize(("name", "hint"), [("weight", ""), ("plot", "send null"), ("hindfoot", "send null")])
def test_a_field_that_reference_rows_always_had_must_be_mentioned(name: str, hint: str) -> None:
    sentence = CONTRACT.refuse_row({key: value for key, value in ROW.items() if key != name})
    assert sentence is not None
    assert f"'{name}' is missing" in sentence
    assert hint in sentence


def test_what_is_no_row_is_refused() -> None:
    for value in ([], "x", None, 3):
        sentence = CONTRACT.refuse_row(value)  # type: ignore[arg-type]
        assert sentence is not None
        assert "a row must be an object" in sentence


WORDS = st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(WORDS, SCALARS, max_size=2)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([rule.name for rule in CONTRACT.columns]) | WORDS, JSON, max_size=4))
def test_any_json_gets_a_sentence_or_passes_and_what_passes_can_be_stored(row: dict[str, Any]) -> None:
    sentence = CONTRACT.refuse_row({**ROW, **row})
    if sentence is None:
        json.dumps({**ROW, **row}, allow_nan=False, ensure_ascii=False).encode()
    else:
        sentence.encode()


@pytest.mark.slow
def test_a_row_costs_microseconds() -> None:
    row = {**ROW, "count": 3, "visits": 4, "trapped": True, "notes": "none", "year": 1999, "record": "63"}
    for _ in range(100):
        CONTRACT.refuse_row(row)
    best = min(_seconds(row) for _ in range(5))
    assert best < 20e-6


def _seconds(row: dict[str, Any]) -> float:
    began = time.process_time()
    for _ in range(5000):
        CONTRACT.refuse_row(row)
    return (time.process_time() - began) / 5000
