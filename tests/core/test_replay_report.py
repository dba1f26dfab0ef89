"""The story of a replay: its figures against arrays done by hand, and a page that stands alone and obeys no data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pandas as pd
import pytest

from trimtab.dashboard.replay_report import render
from trimtab.decisions.drift import ColumnDrift, DriftVerdict
from trimtab.decisions.monitoring import MonitoringVerdict, RaisedAlarm
from trimtab.loop.audit import early_decisions
from trimtab.loop.monitored import monitoring_entry
from trimtab.loop.replay import Record, lost_and_doubled
from trimtab.loop.story import Story
from trimtab.loop.traffic import Answer
from trimtab.ports.runs import RunRecord
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop
from trimtab.testing.bundles import document

T0 = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTILE = "</script><script>alert(1)</script>"


def _frame(labels: list[Any]) -> pd.DataFrame:
    times = pd.date_range(T0, periods=len(labels), freq="180D").astype("datetime64[us, UTC]")
    return pd.DataFrame({"_id": [f"r{n}" for n in range(len(labels))], "_time": times, "genus": labels, "weight": 1.0})


def _answers(predictions: list[Any]) -> list[Answer]:
    return [Answer(f"r{number}", value) for number, value in enumerate(predictions)]


def _turn(number: int, *decisions: dict[str, Any]) -> Turn:
    told = [{"time": (T0 + number * DAY).isoformat(), "labels_until": None, **one} for one in decisions]
    return Turn(number, T0 + number * DAY, {}, {}, told)


def _record() -> Record:
    return Record(
        answers=_answers(["a", "b", "a", "a"]),
        frozen=_answers(["a", "b", "b", "a"]),
        periods=[
            {"start": "2020-01-01", "end": "2021-01-01", "n": 3, **_ROUTES},
            {"start": "2021-01-01", "end": "2022-01-01", "n": 1, **_ROUTES},
        ],
        turns=[
            _turn(1, {"kind": "retrain", "sentence": HOSTILE}, {"kind": "promote", "sentence": "1 serves"}),
            _turn(2, {"kind": "retrain", "sentence": "again"}, {"kind": "reject", "sentence": "no"}),
            _turn(3, {"kind": "roll-back", "sentence": "back"}),
        ],
    )


_ROUTES = {"champion": "1", "candidate": None, "candidate_percent": 0, "mirror_percent": 0}


def _told() -> tuple[dict[str, Any], dict[str, Any]]:
    story = Story(document(), _frame(["a", "b", "a", "b"]), _record())
    summary = story.summary(lost=0, duplicated=0, early=3, wall_seconds=12.34, peak_memory_mb=500.0)
    return summary, story.tell(summary, [monitoring_entry(_monitoring(), "runs/m/report.html")], None)


def _monitoring() -> RunRecord:
    column = ColumnDrift("weight", "number", 0.5, 0.1, 0.4, 0.01, 0.2, True, True, 0.0, 0.0, 0.0)
    alarm = RaisedAlarm("drift", "drift", 0.5, 0.4, "weight drifted")
    drift = DriftVerdict("drifted", (column,), (), 100, 1000)
    verdict = MonitoringVerdict("alarm", T0, T0 + DAY, T0 + DAY, 100, 50, (alarm,), drift)
    return RunRecord("m-1", "monitoring-pipeline", "SUCCEEDED", T0, output={"verdict": verdict.to_json()})


def test_the_figures_are_those_of_the_arrays() -> None:
    summary, _ = _told()
    assert (summary["accuracy"], summary["frozen_accuracy"]) == (0.75, 0.5)
    assert summary["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert (summary["retrains"], summary["promotions"], summary["rollbacks"], summary["rejections"]) == (1, 0, 1, 1)
    years = [(year["year"], year["n"], year["accuracy"]) for year in summary["years"]]
    assert years == [(2020, 3, 1.0), (2021, 1, 0.0)]
    assert summary["predictions"] == 4
    assert summary["labels_before_time"] == 3


def test_a_regression_is_told_by_its_error() -> None:
    frame = _frame([0.0, 0.0])
    frame["weight"] = [10.0, 20.0]
    record = Record(answers=_answers([11.0, 23.0]), frozen=_answers([15.0, None]), periods=_record().periods)
    story = Story(document("regression"), frame, record)
    assert story.value("loop", metric="mae") == pytest.approx(2.0)
    summary = story.summary(0, 0, 0, 1.0, 1.0)
    assert "accuracy" not in summary
    assert summary["frozen"] is None, "it did not answer one of the rows"


def test_decisions_that_knew_a_label_too_early_are_counted() -> None:
    later = (T0 + 2 * DAY).isoformat()
    turns = [_turn(1, {"kind": "step", "labels_until": later}), _turn(3, {"kind": "step", "labels_until": later})]
    assert early_decisions(turns) == 1


def test_lost_and_doubled_answers_are_found() -> None:
    record = Record(answers=[Answer("a", 1), Answer("b", None, error="HTTP 503"), Answer("c", 1), Answer("d", 1)])
    assert lost_and_doubled(record, {"a": 1, "b": 1, "c": 2}, ["a", "b", "c", "d"]) == (2, 1)


class _Resources(HTMLParser):
    """Everything that a browser would fetch, and every script."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        names = ("src", "srcset", "data", "poster") + (("href",) if tag == "link" else ())
        self.fetched += [str(value) for name, value in attrs if name in names]


def test_the_page_fetches_nothing_and_obeys_no_sentence() -> None:
    _, told = _told()
    page = render(told)
    seen = _Resources()
    seen.feed(page)
    assert seen.fetched == []
    assert seen.scripts == 2  # its data and its drawing: the sentence that looks like one is text
    assert "alert(1)" in page
    assert not re.search(r"url\(|@import", page)
    data = re.search(r'<script type="application/json" id="replay">(.*?)</script>', page, re.S)
    assert data is not None
    assert json.loads(data[1])["decisions"][0]["sentence"] == HOSTILE


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize(
    ("since", "until", "labels"),
    [
        ("2024-02-10", "2024-05-10", ["2024-03", "2024-04", "2024-05"]),
        ("2024-01-01", "2024-01-21", ["01-01", "01-05", "01-09", "01-13", "01-17", "01-21"]),
        ("2023-06-01", "2024-12-01", ["2023-07", "2024-01", "2024-07"]),
        ("2019-06-01", "2023-06-01", ["2020", "2021", "2022", "2023"]),
    ],
)
def test_the_time_axis_of_a_short_replay_has_labels(since: str, until: str, labels: list[str]) -> None:
    script = files("trimtab.dashboard").joinpath("replay_report.js").read_text("utf-8")
    ticks = script[script.index("function ticks(") : script.index("function matrix(")]
    call = (
        f"((a, b) => ticks(a, b, 5, 6).filter(([t]) => t >= a && t <= b))(Date.parse('{since}'), Date.parse('{until}'))"
    )
    shown = subprocess.run(
        ["node", "-e", f"{ticks}; console.log(JSON.stringify({call}))"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert [text for _, text in json.loads(shown.stdout) if text] == labels


def test_reports_are_linked() -> None:
    _, told = _told()
    assert told["monitoring"][0]["drift"] == [
        {"feature": "weight", "statistic": 0.5, "threshold": 0.4, "drifted": True}
    ]
    assert 'href="runs/m/report.html"' in render(told)


def test_a_replay_without_labels_or_promise_still_has_a_page() -> None:
    loop: ModelLoop = document()
    story = Story(loop, _frame(["a"]), Record(_answers(["a"]), _answers(["a"]), _record().periods[:1]))
    summary = story.summary(0, 0, 0, 1.0, 1.0)
    assert summary["accuracy"] == 1.0
    assert "<h2>" in render(story.tell(summary, [], {"time": "2020-01", "text": "x"}))


@pytest.mark.parametrize("metric", ["log_loss", "calibration_error"])
def test_a_metric_of_scores_is_told_as_accuracy_and_no_number_as_a_dash(metric: str) -> None:
    loop = document(scope={"problem": "classification", "metrics": [{"name": metric, "max": 1.0}]})
    story = Story(
        loop, _frame(["a", "b"]), replace(_record(), answers=_answers(["a", "b"]), frozen=_answers(["a", "a"]))
    )
    summary = story.summary(0, 0, 0, 1.0, 1.0)
    assert (summary["metric"], summary["loop"], summary["frozen"]) == ("accuracy", 1.0, 0.5)
    nothing = Story(loop, _frame([]), replace(_record(), answers=[], frozen=[])).summary(0, 0, 0, 1.0, 1.0)
    assert nothing["loop"] is None
    assert "–" in render(story.tell({**summary, "loop": None}, [], None))
