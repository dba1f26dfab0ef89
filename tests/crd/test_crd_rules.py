"""The CEL rules of the CRD, each evaluated over good and bad documents by a CEL interpreter."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import Any

import pytest
from structural_rules import defaulted, nodes
from test_crd_schema import EXAMPLES, SCHEMA, refusals

from trimtab.spec import tree
from trimtab.spec.crd_rules import RULES
from trimtab.spec.generate import SMALLEST
from trimtab.spec.read import check

cel = pytest.importorskip("cel", reason="pip install common-expression-language to evaluate the CEL rules")


def _true(rule: str, value: Any) -> bool:
    """isSorted is of Kubernetes' own CEL library."""
    given = cel.Context(variables={"self": value}, functions={"isSorted": lambda found: list(found) == sorted(found)})
    return bool(cel.evaluate(rule, given))


def broken_rules(text: str) -> list[str]:
    """The messages of the rules that the document breaks."""
    ready = defaulted(tree.read(text.encode()).value, SCHEMA)
    return [
        rule["message"]
        for _, value, schema in nodes(ready, SCHEMA)
        for rule in schema.get("x-kubernetes-validations", [])
        if not _true(rule["rule"], value)
    ]


def _spec(line: str) -> str:
    return SMALLEST.replace("spec:\n", f"spec:\n  {line}\n")


def _scope(metrics: str, problem: str = "classification") -> str:
    return SMALLEST.replace("problem: classification", f"problem: {problem}, metrics: [{metrics}]")


def _source(inside: str) -> str:
    return SMALLEST.replace("path: orders.csv", inside)


def _time(inside: str) -> str:
    return SMALLEST.replace("column: at", inside)


BROKEN = [
    (_source("path: a, query: q"), "exactly one of path and query"),
    (_source("path: 's3://key:secret@bucket/x.csv'"), "secret must not stand in the document"),
    (_source("encoding: utf-8"), "exactly one of path and query"),
    (_source("query: q, format: csv"), "format goes with path"),
    (_source("path: a.csv, urlEnv: X"), "urlEnv goes with query"),
    (_source("query: q, urlEnv: AWS_SECRET_ACCESS_KEY"), "must not name a variable of trimtab"),
    (_source("path: a.csv, url: 'duckdb:///x.db'"), "url goes with query"),
    (_source("query: q, url: 'x://h', urlEnv: A"), "not both"),
    (_source("query: q, url: 'postgresql://u:p/w@h/d'"), "password"),
    (_source("query: q, url: 'postgresql://u@h/d?password=x'"), "password"),
    (_time("column: at, year: y"), "exactly one of column and year"),
    (_time("format: '%Y'"), "exactly one of column and year"),
    (_time("column: at, month: m"), "month goes with year"),
    (_time("year: y, day: d"), "day goes with month"),
    (_time("year: y, format: '%Y'"), "format goes with column"),
    (_time("year: y, month: y"), "columns of their own"),
    (_time("column: fraud"), "also be the event time"),
    (SMALLEST + "    id: fraud\n", "id must not be"),
    (SMALLEST + "    entity: fraud\n", "entity must not be"),
    (SMALLEST + "    ignore: [fraud]\n", "cannot be ignored"),
    (SMALLEST + "    split: {by: entity}\n", "needs entity"),
    (SMALLEST + "    contract: {a: {min: 3, max: 2}}\n", "min must be at most max"),
    (SMALLEST + "    contract: {a: {type: string, min: 3}}\n", "are for numbers"),
    (SMALLEST + "    contract: {a: {type: number, domain: [x]}}\n", "is for strings"),
    (_scope("{name: accuracy, min: 0.9, max: 0.8}"), "min must be at most max"),
    (_scope("{name: accuracy}, {name: profit}"), "cannot compute"),
    (_scope("{name: accuracy, kind: business}"), "cannot compute"),
    (_scope("{name: accuracy, kind: software}, {name: log_loss}"), "this is a model metric"),
    (_scope("{name: error_rate}"), "at least one model metric"),
    (_scope("{name: r2}"), "a classification does not have"),
    (_scope("{name: accuracy}", "regression"), "a regression does not have"),
    (_spec("quality: {gates: [{metric: accuracy}]}"), "a gate needs a bound"),
    (
        _scope("{name: accuracy}").replace("spec:\n", "spec:\n  quality: {gates: [{metric: log_loss, max: 1}]}\n"),
        "a gate must rest",
    ),
    (
        _scope("{name: accuracy}").replace("spec:\n", "spec:\n  monitoring: {alarms: [{metric: mae, max: 1}]}\n"),
        "an alarm must rest",
    ),
    (_spec("monitoring: {alarms: [{metric: error_rate}]}"), "an alarm needs"),
    (_spec("quality: {gates: [{metric: log_loss, max: 1}]}"), "a gate must rest"),
    (_spec("quality: {gates: [{metric: error_rate, max: 1}]}"), "rests on a model metric"),
    (_spec("release: {rollBackWhen: {metric: log_loss}}"), "only by a model metric"),
    (_spec("release: {rollBackWhen: {metric: error_rate}}"), "only by a model metric"),
    (_spec("features: {include: [fraud]}"), "cannot be a feature"),
    (_spec("release: {steps: [25, 5]}"), "steps must rise"),
    (_spec("release: {steps: []}"), "a canary needs steps"),
    (_spec("release: {strategy: shadow, shadow: false}"), "shadow cannot be false"),
    (_spec("release: {strategy: blue-green, shadow: false}"), "promotes on no evidence"),
    (_spec("release: {delivery: gitops}"), "section gitops go together"),
    (_spec("release: {gitops: {repository: https://git.example/r}}"), "section gitops go together"),
    (_spec("retraining: {causes: [schedule]}"), "go together"),
    (_spec("retraining: {every: 30d}"), "go together"),
    (_spec("training: {timeout: 0s}"), "longer than no time"),
]


@pytest.mark.parametrize("rules", RULES.values(), ids=list(RULES))
def test_every_rule_is_cel_and_says_something(rules: tuple[tuple[str, str], ...]) -> None:
    for rule, message in rules:
        cel.compile(rule)
        assert message


@pytest.mark.parametrize("text", EXAMPLES)
def test_right_documents_break_no_rule(text: str) -> None:
    assert broken_rules(text) == []


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_contradiction_breaks_its_rule_and_trimtab_refuses_it_too(text: str, said: str) -> None:
    assert [message for message in broken_rules(text) if said in message]
    assert check(text.encode())[0] is None


def test_each_rule_is_broken_by_some_document() -> None:
    seen = {message for text, _ in BROKEN for message in broken_rules(text)}
    assert {message for rules in RULES.values() for _, message in rules} - seen == {
        "this is a software metric: leave kind out, or set kind: software",
        "this is a data metric: leave kind out, or set kind: data",
    }


# What `trimtab validate` and the operator's first look refuse and the API server cannot: it rests on Python's codecs,
# on the meaning of a metric, or costs more than a rule may.
_LEFT = (
    *(
        "utf-9",
        "base64",
        "cannot separate",
        "no format of times",
        "0 to 1",
        "at most 200y",
        "names each row",
        "leaves this column out",
    ),
    *("namespace", "metadata.name", "apiVersion", "`kind`", "not YAML", "stands twice"),
)


def _refused_documents() -> list[Any]:
    folder, found = Path(__file__).parents[1] / "core/spec", []
    for name, listed in (("test_contradictions", "CONTRADICTIONS"), ("test_read", "ONE_PROBLEM")):
        spec = util.spec_from_file_location(f"refused_{name}", folder / f"{name}.py")
        assert spec
        assert spec.loader
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [(one[0], f"{one[2]} {one[3]}") for one in getattr(module, listed)]
    return found


def _left(said: str) -> bool:
    return any(one in said for one in _LEFT)


def test_little_is_left_to_trimtab_validate() -> None:
    assert sum(_left(said) for _, said in _refused_documents()) <= 16


@pytest.mark.parametrize("text", [text for text, said in _refused_documents() if not _left(said)])
def test_what_trimtab_refuses_the_api_server_refuses_if_it_can(text: str) -> None:
    assert refusals(text) or broken_rules(text)
