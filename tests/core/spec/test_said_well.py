"""What is wrong is said once, in the right line, and nothing is said that only follows from it."""

from __future__ import annotations

import textwrap

import pytest

from trimtab.spec.generate import SMALLEST
from trimtab.spec.problems import Problem
from trimtab.spec.read import check

BLOCK = SMALLEST.replace("  scope: {problem: classification}", "  scope:\n    problem: classification")
HEAD = "apiVersion: trimtab.dev/v1alpha1\nkind: ModelLoop\nmetadata: {name: orders}\n"


def _problems(text: str) -> tuple[Problem, ...]:
    return check(text.encode())[1]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('a: 1\nb: "two\nc: 3\nd: 4\n', 2, "a quote is opened here and not closed"),
        ("a: 1\nb: 'two\nc: 3\n", 2, "a quote is opened here and not closed"),
        ('a: 1\nb: "two\nc: "three"\nd: 4\n', 2, "a quote is opened here and not closed"),
        ("a: 1\nb: {c: 'x, d: 2}\ne: 'y'\n", 2, "a quote is opened here and not closed"),
        ("a: 1\nb: [1, 2\nc: 3\nd: 4\n", 2, "`[` is opened here and not closed before line 3"),
        ("a: 1\nb: {c: 1, d: 2\ne: 3\n", 2, "`{` is opened here and not closed"),
        ("a: 1\nbcd\ne: 2\n", 2, "a colon is missing after 'bcd'"),
        ("spec:\n  data\n    source: x\n", 2, "a colon is missing after 'data'"),
        ("spec:\n  data:\n    source: x: y\n", 3, "not YAML: mapping values"),
        ("spec:\n  it: don't\n   worse: 1\n", 3, "not YAML"),
    ],
)
def test_what_is_no_yaml_is_said_in_the_line_to_mend(text: str, line: int, said: str) -> None:
    (found,) = _problems(text)
    assert (found.line, said in found.text("loop.yaml")) == (line, True), found.text("loop.yaml")


def test_sections_beside_spec_are_one_problem() -> None:
    (found,) = _problems(textwrap.dedent(SMALLEST.partition("spec:\n")[2]) + HEAD)
    assert (found.line, found.path, found.message) == (1, "scope", "put `scope`, `data` under `spec:`, indented")


def test_a_key_of_two_places_is_expected_in_each_once() -> None:
    (found,) = _problems(SMALLEST + "timeParts: [month]\n")
    assert found.expected == "it in spec.features"
    (found,) = _problems(BLOCK.replace("  scope:\n", "  scope:\n    data: {}\n"))
    assert "spec or spec" not in found.text("loop.yaml")


def test_a_missing_key_with_one_right_value_says_it() -> None:
    wrong = _problems(SMALLEST.replace("apiVersion: trimtab.dev/v1alpha1\n", "").replace("kind: ModelLoop\n", ""))
    assert [one.expected for one in wrong] == ["`apiVersion: trimtab.dev/v1alpha1`", "`kind: ModelLoop`"]
    (problem,) = _problems(BLOCK.replace("    problem: classification\n", "    owner: me\n"))
    assert problem.expected == "`problem: classification` or `problem: regression`"


@pytest.mark.parametrize("label", ["label:", "label: {column: }"])
def test_an_empty_key_is_empty_and_not_missing(label: str) -> None:
    found = _problems(SMALLEST.replace("label: {column: fraud}", label))
    assert [(one.line, one.message) for one in found] == [(9, "a key that must hold something is empty")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{path: orders.csv}", "{path: 3}"),  # not also: neither path nor query is given
        ("{path: orders.csv}", "{paht: orders.csv}"),
        ("{column: at}", "{colunm: at}"),
        ("{column: at}", "{column: 3}"),
        ("label: {column: fraud}", "label: {column: fraud}\n    split: {by: entity}\n    entity: [a]"),
        (
            "problem: classification",
            "problem: klass\n    metrics: [{name: mae}]",
        ),  # nor: not a metric of a classification
        ("problem: classification", "problem: classification\n    metrics: [{name: accuracy, min: high}]"),
        (
            "problem: classification",
            "problem: classification\n    metrics: [3, {name: accuracy, min: 0.7}, {name: accuracy}]",
        ),
    ],
)
def test_what_only_follows_from_a_wrong_part_is_not_said(old: str, new: str) -> None:
    assert [one.message[:8] != "not YAML" for one in _problems(BLOCK.replace(old, new))] == [True]


def test_gates_on_metrics_that_could_not_be_read_are_not_judged() -> None:
    wrong = "  scope: {problem: classification, metrics: [{name: accuracy, min: high}, [x]]}\n"
    text = HEAD + "spec:\n" + wrong + SMALLEST[SMALLEST.index("  data:") :]
    found = _problems(text + "  quality: {gates: [{metric: macro_f1, min: 0.5}]}\n")
    assert [one.path for one in found] == ["spec.scope.metrics[0].min", "spec.scope.metrics[1]"]


def test_contradictions_elsewhere_are_still_said() -> None:
    found = _problems(SMALLEST + "  release: {steps: [5, 5]}\n  retraining: {causes: [schedule]}\n  trainig: {}\n")
    assert [one.path for one in found] == ["spec.release.steps[1]", "spec.retraining.every", "spec.trainig"]
