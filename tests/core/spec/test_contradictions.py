"""What would only explode later is refused when the document is read."""

from __future__ import annotations

import codecs
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimtab.errors import DocumentRefused
from trimtab.spec.generate import SMALLEST
from trimtab.spec.read import MOST_PROBLEMS, check, load, loads
from trimtab.spec.section import LONGEST, format_duration, parse_duration


def _spec(line: str) -> str:
    """The smallest document with one more line in its spec: line 5."""
    return SMALLEST.replace("spec:\n", f"spec:\n  {line}\n")


def _source(inside: str) -> str:
    return SMALLEST.replace("path: orders.csv", inside)


def _time(inside: str) -> str:
    return SMALLEST.replace("column: at", inside)


CONTRADICTIONS = [
    # document, line, path, part of what is said
    (_source("path: a.csv, encoding: utf-9"), 7, "spec.data.source.encoding", "'utf-9'"),
    (_source("path: a.csv, encoding: base64"), 7, "spec.data.source.encoding", "'base64'"),
    (_source('path: a.csv, delimiter: "\\n"'), 7, "spec.data.source.delimiter", "cannot separate"),
    (_source("path: a.csv, url: 'duckdb:///x.db'"), 7, "spec.data.source.url", "without `query`"),
    (_source("path: a.csv, urlEnv: X"), 7, "spec.data.source.urlEnv", "without `query`"),
    (_source("query: q, url: nowhere"), 7, "spec.data.source.url", "not a URL"),
    (_source("query: q, url: 'x://h', urlEnv: A"), 7, "spec.data.source.url", "one of them"),
    (_source("query: q, urlEnv: A=B"), 7, "spec.data.source.urlEnv", "'A=B'"),
    (_source("query: q, format: csv"), 7, "spec.data.source.format", "`path`"),
    (_source("path: ''"), 7, "spec.data.source.path", "not a path"),
    (_source("query: ' '"), 7, "spec.data.source.query", "empty"),
    (_source("query: q, url: 'postgresql://u:p/w@h/d'"), 7, "spec.data.source.url", "password"),
    (_source("query: q, url: 'postgresql://u@h/d?password=x'"), 7, "spec.data.source.url", "password"),
    (_time("column: at, month: m"), 8, "spec.data.time.month", "without `year`"),
    (_time("year: y, month: y"), 8, "spec.data.time.month", "twice"),
    (_time("year: y, format: '%Y'"), 8, "spec.data.time.format", "without `column`"),
    (_time("column: at, format: '%Y-%Y'"), 8, "spec.data.time.format", "no format of times"),
    (_time("column: at, format: '%Q'"), 8, "spec.data.time.format", "no format of times"),
    (_time("column: at, format: day"), 8, "spec.data.time.format", "no format of times"),
    (_time("column: ''"), 8, "spec.data.time.column", "no column"),
    (_spec("quality: {gates: [{metric: accuracy, min: 83}]}"), 5, "spec.quality.gates[0].min", "0 to 1, found 83"),
    (_spec("quality: {slices: [{column: a, min: 83}]}"), 5, "spec.quality.slices[0].min", "0 to 1"),
    (_spec("monitoring: {alarms: [{metric: error_rate, max: 5}]}"), 5, "spec.monitoring.alarms[0].max", "0 to 1"),
    (_spec("release: {strategy: blue-green, shadow: false}"), 5, "spec.release.shadow", "no evidence was seen"),
    (
        _spec("release: {strategy: blue-green, shadow: false, evidence: {leastRequests: 0, leastLabels: 1}}"),
        5,
        "spec.release.shadow",
        "no evidence was seen",
    ),
    (_spec("release: {strategy: shadow, shadow: false}"), 5, "spec.release.shadow", "strategy is shadow"),
    (_spec("retraining: {every: 30d}"), 5, "spec.retraining.every", "among `causes`"),
    (_spec("retraining: {causes: [schedule], every: 0s}"), 5, "spec.retraining.every", "above nought"),
    (_spec("training: {timeout: 0s}"), 5, "spec.training.timeout", "above nought"),
    (_spec("training: {window: 0s}"), 5, "spec.training.window", "above nought"),
    (_spec("training: {window: 201y}"), 5, "spec.training.window", "at most 200y"),
    (_spec("training: {window: 999999999999y}"), 5, "spec.training.window", "at most 200y"),
    (_spec("serving: {limits: {timeout: 0s}}"), 5, "spec.serving.limits.timeout", "above nought"),
    (_spec("serving: {host: 'a b; c'}"), 5, "spec.serving.host", "not an address"),
    (_spec("retraining: {budget: {per: 0s}}"), 5, "spec.retraining.budget.per", "above nought"),
    (_spec("features: {include: [a, a]}"), 5, "spec.features.include[1]", "twice"),
    (_spec("features: {crosses: [{columns: [a, a]}]}"), 5, "spec.features.crosses[0].columns[1]", "twice"),
    (_spec("features: {timeParts: [month, month]}"), 5, "spec.features.timeParts[1]", "twice"),
    (_spec("features: {include: [n]}") + "    id: n\n", 5, "spec.features.include[0]", "names each row"),
    (_spec("features: {crosses: [{columns: [a, b]}]}") + "    ignore: [b]\n", 5, None, "leaves this column out"),
    (SMALLEST + "    contract: {a: {type: string, min: 3}}\n", 10, "spec.data.contract.a.min", "for numbers"),
    (SMALLEST.replace("orders}", "orders, namespace: ../x}"), 3, "metadata.namespace", "namespace"),
]


def test_blue_green_without_a_shadow_is_taken_where_no_evidence_is_wanted() -> None:
    meant = "release: {strategy: blue-green, shadow: false, evidence: {leastRequests: 0, leastLabels: 0}}"
    assert loads(_spec(meant)).spec.release.shadow is False


@pytest.mark.parametrize(("text", "line", "path", "said"), CONTRADICTIONS)
def test_a_contradiction_is_refused_in_its_place(text: str, line: int, path: str | None, said: str) -> None:
    (found,) = check(text.encode())[1]
    assert found.line == line
    assert path is None or found.path == path
    assert said in found.text("loop.yaml")


@given(st.timedeltas(timedelta(0), LONGEST))
@example(timedelta(seconds=1000001))
@example(LONGEST - timedelta(microseconds=1))
def test_a_duration_is_written_exactly(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(max_size=30))
@example("desert \U0001f400")
@example("\ufeff\ufffe\uffff\x85\x80\x7f\u2028")
@example("\\ud83d\\ude00 is not a character")
def test_any_text_survives_both_ways_of_writing_json(statement: str) -> None:
    document = loads(SMALLEST).model_dump(mode="json", by_alias=True, exclude_none=True)
    document["spec"]["scope"]["statement"] = statement
    for ascii_only in (True, False):
        assert loads(json.dumps(document, ensure_ascii=ascii_only)).spec.scope.statement == statement


def test_half_a_character_is_refused() -> None:
    with pytest.raises(DocumentRefused, match=r"loop.yaml:1:4  .*UTF-8"):
        loads("a: \ud800")


@pytest.mark.parametrize("content", [codecs.BOM_UTF16_LE + SMALLEST.encode("utf-16-le"), b"\xef\xbb\xbf", b"\n\n"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "loop.yaml"
    path.write_bytes(content)
    with pytest.raises(DocumentRefused):
        load(path)


@pytest.mark.parametrize(
    "text",
    [
        _spec("training: {" + ", ".join(f"window_{n}_abcdefghijklmnopqrstuvw: 1" for n in range(19000)) + "}"),
        SMALLEST + "".join(f"  trainings{n}: 1\n" for n in range(19000)),
        _spec("quality: {gates: [" + ", ".join(["{metric: acuracy}"] * 9000) + "]}"),
    ],
    ids=["keys", "sections", "gates"],
)
def test_a_file_full_of_mistakes_is_answered_soon(text: str) -> None:
    began = time.process_time()
    found = check(text.encode())[1]
    assert time.process_time() - began < 10  # it took 30 s when every key was compared with every other
    assert len(found) == MOST_PROBLEMS + 1
    assert "more problems" in found[-1].message
