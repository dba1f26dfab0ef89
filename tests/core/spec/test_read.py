"""What is wrong with a document is said all at once, with its line, and nothing but that ever happens."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.errors import DocumentRefused
from trimtab.spec.document import ModelLoop
from trimtab.spec.generate import SMALLEST
from trimtab.spec.problems import Problem
from trimtab.spec.read import check, load, loads, problems

DEMO = Path(__file__).parents[3] / "examples/desert-rodents/loop.yaml"


def _problems(text: str) -> tuple[Problem, ...]:
    return check(text.encode())[1]


def _with(*, spec: str = "", scope: str = "{problem: classification}", data: str = "") -> str:
    """A right document with more in it. The spec's own lines begin at line 5."""
    return (
        "apiVersion: trimtab.dev/v1alpha1\nkind: ModelLoop\nmetadata: {name: orders}\nspec:\n"
        f"{spec}"
        f"  scope: {scope}\n"
        "  data:\n    source: {path: orders.csv}\n    time: {column: at}\n    label: {column: fraud}\n"
        f"{data}"
    )


def test_the_smallest_document_has_every_default() -> None:
    loop = loads(SMALLEST)
    assert loop.metadata.name == "orders"
    assert [metric.name for metric in loop.spec.metrics] == ["accuracy", "macro_f1", "error_rate", "latency_p99_ms"]
    assert loop.spec.release.strategy == "canary"


def test_a_document_survives_being_written_as_json() -> None:
    for text in (SMALLEST, DEMO.read_text()):
        loop = loads(text)
        assert loads(loop.model_dump_json(by_alias=True, exclude_none=True)) == loop


def test_known_metrics_bring_their_kind() -> None:
    loop = loads(_with(scope="{problem: classification, metrics: [{name: accuracy}, {name: error_rate, max: 0.1}]}"))
    assert [metric.kind for metric in loop.spec.metrics] == ["model", "software"]


ONE_PROBLEM = [
    # what stands in the document, line, path, part of the message, suggestion
    (_with(spec="  trainig: {}\n"), 5, "spec.trainig", "unknown key", "training"),
    (_with(spec="  release: {step_least: 1h}\n"), 5, "spec.release.step_least", "unknown key", "stepLeast"),
    (_with(spec="  training: {cooldown: 1h}\n"), 5, "spec.training.cooldown", "spec.retraining", ""),
    (_with(spec="  retraining: {on: [drift]}\n"), 5, "spec.retraining.on", "unknown key", "causes"),
    (_with(spec="  release: {strategy: blue_green}\n"), 5, "spec.release.strategy", "one of", "blue-green"),
    (_with(spec='  serving: {port: "80"}\n'), 5, "spec.serving.port", "a whole number", ""),
    (_with(spec="  serving: {port: 80.5}\n"), 5, "spec.serving.port", "a whole number", ""),
    (_with(spec="  serving: {port: 99999}\n"), 5, "spec.serving.port", "at most 65535", ""),
    (_with(spec="  training: {window: 3 years}\n"), 5, "spec.training.window", "a duration", ""),
    (_with(spec="  training: [1]\n"), 5, "spec.training", "a mapping", ""),
    (_with(spec="  quality: {gates: {metric: accuracy}}\n"), 5, "spec.quality.gates", "a list", ""),
    (_with(spec="  quality: {gates: [{metric: acc, min: 1}]}\n"), 5, "spec.quality.gates[0].metric", "scope names", ""),
    (_with(spec="  quality: {gates: [{metric: accuracy}]}\n"), 5, "spec.quality.gates[0]", "without a bound", ""),
    (_with(spec="  quality: {gates: [{metric: error_rate, max: 1}]}\n"), 5, "spec.quality.gates[0].metric", "soft", ""),
    (
        _with(spec="  monitoring: {alarms: [{metric: macro_fl, min: 1}]}\n"),
        5,
        "spec.monitoring.alarms[0].metric",
        "",
        "macro_f1",
    ),
    (_with(spec="  monitoring: {every: 0s}\n"), 5, "spec.monitoring.every", "above nought", ""),
    (_with(spec="  release: {steps: [5, 5]}\n"), 5, "spec.release.steps[1]", "rising", ""),
    (_with(spec="  release: {steps: [100]}\n"), 5, "spec.release.steps[0]", "1 to 99", ""),
    (_with(spec="  release: {rollBackWhen: {metric: recall}}\n"), 5, "spec.release.rollBackWhen.metric", "", ""),
    (_with(spec="  retraining: {causes: [schedule]}\n"), 5, "spec.retraining.every", "missing", ""),
    (_with(spec="  features: {include: [fraud]}\n"), 5, "spec.features.include[0]", "is the label", ""),
    (_with(scope="{problem: regresion}"), 5, "spec.scope.problem", "one of", "regression"),
    (
        _with(scope="{problem: regression, metrics: [{name: accuracy}]}"),
        5,
        "spec.scope.metrics[0].name",
        "regression",
        "",
    ),
    (
        _with(scope="{problem: classification, metrics: [{name: acuracy}]}"),
        5,
        "spec.scope.metrics[0].name",
        "",
        "accuracy",
    ),
    (
        _with(scope="{problem: classification, metrics: [{name: accuracy}, {name: accuracy}]}"),
        5,
        "spec.scope.metrics[1].name",
        "twice",
        "",
    ),
    (_with(scope="{problem: classification, metrics: [{name: []}]}"), 5, "spec.scope.metrics[0].name", "text", ""),
    (_with(data="    split: {by: entity}\n"), 10, "spec.data.split.by", "data.entity", ""),
    (_with(data="    ignore: [a, fraud]\n"), 10, "spec.data.ignore[1]", "is the label", ""),
    (_with(data="    contract:\n      a: {min: 3, max: 2}\n"), 11, "spec.data.contract.a.min", "above max", ""),
    (SMALLEST.replace("path: orders.csv", "path: a, query: b"), 7, "spec.data.source", "exactly one", ""),
    (SMALLEST.replace("{path: orders.csv}", "{}"), 7, "spec.data.source", "exactly one", ""),
    (SMALLEST.replace("{column: at}", "{day: d, year: y}"), 8, "spec.data.time.day", "without `month`", ""),
    (
        SMALLEST.replace("path: orders.csv", "query: q, url: 'postgresql://u:p@h/d'"),
        7,
        "spec.data.source.url",
        "urlEnv",
        "",
    ),
    (SMALLEST.replace("name: orders", "name: ../etc"), 3, "metadata.name", "lower-case", ""),
    (SMALLEST.replace("v1alpha1", "v2"), 1, "apiVersion", "trimtab.dev/v1alpha1", "trimtab.dev/v1alpha1"),
    (SMALLEST.replace("    label: {column: fraud}\n", ""), 6, "spec.data.label", "must be there", ""),
]


@pytest.mark.parametrize(("text", "line", "path", "said", "suggestion"), ONE_PROBLEM)
def test_one_problem_is_placed_and_explained(text: str, line: int, path: str, said: str, suggestion: str) -> None:
    found = _problems(text)
    assert [(one.line, one.path) for one in found] == [(line, path)]
    assert said in found[0].text("loop.yaml")
    assert found[0].suggestion == suggestion
    with pytest.raises(DocumentRefused, match=rf"loop.yaml:{line}:"):
        loads(text)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (b"", 1, "empty"),
        (b"# nothing\n", 1, "empty"),
        (b"- 1\n", 1, "mapping"),
        (b"a: 1\na: 2\n", 2, "stands twice"),
        (b"a: 1\n---\nb: 2\n", 2, "second document"),
        (b"a:\n\tb: 1\n", 2, "tab"),
        (b"a: [1, 2\n", 1, "`[` is opened here"),
        (b"a: \xff\n", 1, "not UTF-8"),
        (b"a: \x00\n", 1, "control character"),
        (b"a: !!python/object/apply:os.system [ls]\n", 1, "tag"),
        (b"a: &x {b: 1}\nc: {<<: *x}\n", 2, "merge keys"),
        (b"a: *x\n", 1, "no anchor"),
        (b"a: .inf\n", 1, "not finite"),
        (b"a: 99999999999999999999999\n", 1, "too large"),
        (b"a: " + b"[" * 100 + b"]" * 100, 1, "deep"),
        (b"# " + b"x" * 2**20 + b"\na: 1\n", 1, "at most"),
    ],
)
def test_what_is_no_document_is_refused_where_it_goes_wrong(content: bytes, line: int, said: str) -> None:
    loop, found = check(content)
    assert loop is None
    assert found[0].line == line
    assert said in found[0].text("x")


def test_aliases_cannot_grow_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (problem,) = _problems("\n".join(lines))
    assert "more than 20000 values" in problem.message


def test_all_problems_come_at_once_in_the_order_of_the_lines() -> None:
    text = _with(
        spec="  serving: {port: x}\n  release: {steps: [9, 8]}\n  bogus: 1\n",
        scope="{problem: clasification, metrics: [{name: accuracy, min: 0.2, max: 0.1}]}",
    )
    found = _problems(text)
    assert [one.path for one in found] == [
        "spec.serving.port",
        "spec.release.steps[1]",
        "spec.bogus",
        "spec.scope.problem",
        "spec.scope.metrics[0].min",
    ]


def test_a_section_with_all_its_keys_commented_out_is_absent() -> None:
    assert loads(
        _with(spec="  features:\n  training:\n    parameters:\n      max_depth: null\n")
    ).spec.training.parameters == {"max_depth": None}


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DocumentRefused, match="trimtab init"):
        load(tmp_path / name)


def test_problems_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(_with(spec="  bogus: 1\n"))
    assert [one.to_json()["path"] for one in problems(path)] == ["spec.bogus"]


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_document_or_a_list_of_problems(content: bytes) -> None:
    loop, found = check(content)
    assert (loop is None) == bool(found)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(seed=st.integers(0, 10**9), value=_JSON)
@settings(max_examples=150, deadline=None)
def test_a_right_document_with_any_part_replaced_is_never_a_traceback(seed: int, value: Any) -> None:
    document = yaml.safe_load(DEMO.read_text())
    generator = random.Random(seed)
    here = document
    for _ in range(generator.randint(0, 4)):
        children = [
            child for child in (here.values() if isinstance(here, dict) else here) if isinstance(child, dict | list)
        ]
        children = [child for child in children if child]
        if not children:
            break
        here = generator.choice(children)
    if isinstance(here, dict):
        here[generator.choice([*here, "new"])] = value
    else:
        here[generator.randrange(len(here))] = value
    loop, found = check(json.dumps(document, default=str).encode())
    assert (loop is None) == bool(found)
    if loop is not None:
        assert isinstance(loop, ModelLoop)
    for problem in found:
        assert problem.line >= 1
        assert problem.message
        assert "\x1b" not in problem.text("x")
