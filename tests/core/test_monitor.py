"""Monitoring a window: what is measured over which rows, what raises an alarm, and odd windows that break nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.decisions.monitoring import MonitoringVerdict, bounds, judge_bounds
from trimtab.decisions.observed import Estimate
from trimtab.errors import DataRefused
from trimtab.spec.document import LoopSpec
from trimtab.spec.monitoring import Alarm
from trimtab.stages import cohort, collect, live_metrics
from trimtab.stages.monitor import monitor

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
COLUMNS = ["size", "kind"]


def loop(problem: str = "classification", *, delay: str = "0d", **sections: Any) -> LoopSpec:
    data = {"source": {"path": "x.csv"}, "time": {"column": "t"}, "label": {"column": "y", "delay": delay}}
    return LoopSpec.model_validate({"scope": {"problem": problem}, "data": data} | sections)


def rows(n: int, *, seed: int = 0, shift: float = 0.0, since: datetime = START, days: float = 300) -> pd.DataFrame:
    """size is normal within each class; class b has the larger sizes; the prediction is right for nine in ten."""
    random = np.random.default_rng(seed)
    label = random.choice(np.array(["a", "b"], dtype=object), n)
    right = random.random(n) < 0.9
    frame = pd.DataFrame(
        {
            "size": random.normal(np.where(label == "b", 2.0, 0.0) + shift, 1),
            "kind": random.choice(np.array(["x", "y"], dtype=object), n),
            "_time": [since + days * DAY * i / max(1, n) for i in range(n)],
            "_label": label,
            "_prediction": np.where(right, label, np.where(label == "a", "b", "a")),
            "_latency_ms": random.uniform(1, 5, n),
        }
    )
    frame["_id"] = [f"row-{i}" for i in range(n)]
    frame["_time"] = pd.to_datetime(frame["_time"], utc=True)
    return frame


def window(frame: pd.DataFrame, matured: pd.DataFrame | None = None, *, days: float = 30) -> collect.Window:
    labelled = frame if matured is None else matured
    since = START + 300 * DAY
    return collect.Window(since, since + days * DAY, frame, labelled, labelled["_label"].to_numpy(dtype=object))


def watch(served: collect.Window, spec: LoopSpec | None = None, **kwargs: Any) -> MonitoringVerdict:
    options: dict[str, Any] = {"now": served.until, "columns": COLUMNS, "classes": ["a", "b"]} | kwargs
    return monitor(spec or loop(), rows(3000), rows(500, seed=1), served, **options)


def test_an_unchanged_window_is_healthy_and_says_how_well_the_model_does() -> None:
    verdict = watch(window(rows(600, seed=2)), failed=3)
    assert (verdict.verdict, verdict.alarms, verdict.drift.verdict) == ("healthy", (), "stable")
    accuracy = verdict.quality["accuracy"]
    assert accuracy.n == verdict.labels == 600
    assert accuracy.low < 0.9 < accuracy.high
    assert verdict.holdout["accuracy"].n == 500
    assert verdict.measured["error_rate"].value == pytest.approx(3 / 603)
    assert verdict.measured["volume"].value == 600
    assert 4.5 < verdict.measured["latency_p99_ms"].low <= verdict.measured["latency_p99_ms"].high <= 5
    assert verdict.drift.null == "blocks"
    assert verdict.prediction_drift is not None
    assert not verdict.prediction_drift.drifted
    assert verdict.rows_until == rows(600, seed=2)["_time"].max()


def test_the_verdict_survives_json_and_nothing_else_is_taken_for_one() -> None:
    verdict = watch(window(rows(600, seed=2, shift=3)), importance={"size": 0.4, "kind": 0.0})
    text = verdict.to_json()
    assert MonitoringVerdict.from_json(text) == verdict
    assert json.loads(text)["drift"]["columns"][0]["feature"] == "size"
    broken = json.loads(text)
    broken["drift"]["columns"][0]["psi"] = "much"
    for wrong in (json.dumps(broken), "{}", "[", text.replace('"healthy"', '"fine"').replace('"alarm"', '"fine"')):
        with pytest.raises(DataRefused, match="Monitor the window again"):
            MonitoringVerdict.from_json(wrong)


def test_drift_raises_one_alarm_and_names_what_the_model_uses() -> None:
    verdict = watch(window(rows(600, seed=2, shift=3)), importance={"size": 0.4, "kind": 0.0})
    assert [(one.kind, one.metric) for one in verdict.alarms] == [("drift", "size")]
    assert verdict.measured["drift_share"].value == 1.0  # of the one column in use
    assert {one.feature: one.importance for one in verdict.seen().drift if one.drifted} == {"size": 0.4}
    assert "drift:size" in verdict.seen().alarms
    unused = watch(window(rows(600, seed=2, shift=3)), importance={"size": 0.0, "kind": 0.4})
    assert (unused.verdict, unused.alarms) == ("healthy", ())
    assert "size" in unused.reasons[0]


def test_a_promise_is_broken_only_when_the_whole_interval_is_beyond_it() -> None:
    spec = loop(scope={"problem": "classification", "metrics": [{"name": "accuracy", "min": 0.91}]})
    unsure = watch(window(rows(300, seed=2)), spec)
    assert unsure.quality["accuracy"].value < 0.91
    assert unsure.verdict == "healthy"
    assert any("but not surely" in reason for reason in unsure.reasons)
    sure = watch(window(rows(300, seed=2).assign(_prediction="a")), spec)
    assert [(one.kind, one.metric) for one in sure.alarms] == [("bound", "accuracy")]
    assert sure.alarms[0].bound == 0.91


def test_alarms_named_in_monitoring_replace_the_promises_of_scope() -> None:
    metrics = [
        {"name": "accuracy", "min": 0.99},
        {"name": "volume", "kind": "software"},
        {"name": "money", "kind": "business", "min": 1},
    ]
    spec = loop(scope={"problem": "classification", "metrics": metrics})
    assert bounds(spec) == (Alarm(metric="accuracy", min=0.99),)
    chosen = loop(
        scope={"problem": "classification", "metrics": metrics},
        monitoring={"alarms": [{"metric": "volume", "min": 1000}]},
    )
    verdict = watch(window(rows(300, seed=2)), chosen)
    assert [one.metric for one in verdict.alarms] == ["volume"]


@pytest.mark.parametrize(
    ("low", "value", "high", "alarms", "reasons"),
    [(0.1, 0.2, 0.3, 0, 0), (0.4, 0.6, 0.7, 0, 1), (0.51, 0.6, 0.7, 1, 0), (0.5, 0.5, 0.5, 0, 0)],
)
def test_upper_bounds(low: float, value: float, high: float, alarms: int, reasons: int) -> None:
    raised, said = judge_bounds([Alarm(metric="m", max=0.5)], {"m": Estimate(value, low, high, 9)})
    assert (len(raised), len(said)) == (alarms, reasons)
    assert judge_bounds([Alarm(metric="m", max=0.5)], {})[1] == ("m was not measured: too few rows or labels",)


def test_a_class_the_champion_never_saw() -> None:
    frame = rows(600, seed=2)
    frame.loc[frame.index[:30], "_label"] = "c"
    frame.loc[frame.index[30:35], "_label"] = "d"
    verdict = watch(window(frame))
    assert [(one.label, one.count) for one in verdict.unseen] == [("c", 30), ("d", 5)]
    assert [(one.kind, one.metric) for one in verdict.alarms] == [("unseen-class", "c")]  # d: fewer than newClassLeast
    share = verdict.measured["unseen_class_share"]
    assert share.value == pytest.approx(35 / 600)
    assert share.low < share.value < share.high
    assert verdict.verdict == "alarm"


def test_too_few_rows_or_labels_are_insufficient_evidence() -> None:
    verdict = watch(window(rows(50, seed=2, shift=9)))
    assert (verdict.verdict, verdict.quality, verdict.holdout) == ("insufficient evidence", {}, {})
    assert "50 labels matured; quality is judged from 100" in verdict.reasons


def test_wilson_by_hand() -> None:
    one = live_metrics.share(5, 50, 0.95)
    assert (one.low, one.high) == (pytest.approx(0.0435, abs=1e-3), pytest.approx(0.2136, abs=1e-3))
    assert live_metrics.share(0, 10, 0.95).low == 0.0
    assert live_metrics.share(10, 10, 0.95).high == 1.0


ODD: Mapping[str, pd.DataFrame] = {
    "no rows": rows(0),
    "one row": rows(1),
    "one class": rows(300).assign(_label="a", _prediction="a"),
    "a column is missing throughout": rows(300).assign(size=np.nan),
    "text where numbers were": rows(300).assign(size="large"),
    "numbers where text was": rows(300).assign(kind=1.5),
    "a categorical dtype": rows(300).assign(kind=lambda f: f["kind"].astype("category")),
    "integers and infinity": rows(300).assign(size=[*[3] * 299, np.inf]),
    "lists in a column": rows(300).assign(kind=[[i % 3] for i in range(300)], size=[[i] for i in range(300)]),
    "a column is not served": rows(300).drop(columns="kind"),
    "no latency": rows(300).drop(columns="_latency_ms"),
    "a new value in every row": rows(300).assign(kind=[f"k{i}" for i in range(300)]),
    "scores of one length only now and then": rows(300).assign(_scores=[[0.5, 0.5]] * 299 + [None]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_windows_are_judged_and_written(name: str) -> None:
    verdict = watch(window(ODD[name]))
    assert MonitoringVerdict.from_json(verdict.to_json()) == verdict
    assert verdict.rows == len(ODD[name])
    drifted = {
        "a column is missing throughout": ("size",),
        "text where numbers were": ("size",),
        "numbers where text was": ("kind",),
        "integers and infinity": ("size",),
        "lists in a column": ("kind", "size"),
        "a column is not served": ("kind",),
        "a new value in every row": ("kind",),
        "one class": (),
    }
    if name in drifted:
        assert set(verdict.drift.causes) >= set(drifted[name])


def test_an_odd_reference_is_no_error() -> None:
    for reference in (rows(0), rows(300).drop(columns=["_time", "_prediction"]), rows(300).assign(size=np.nan)):
        served = window(rows(300, seed=2))
        verdict = monitor(loop(), reference, rows(0), served, now=served.until, columns=COLUMNS, classes=["a", "b"])
        assert MonitoringVerdict.from_json(verdict.to_json()) == verdict


def test_regression() -> None:
    def numbers(n: int, seed: int, error: float) -> pd.DataFrame:
        frame = rows(n, seed=seed)
        truth = 3 * frame["size"] + 1
        return frame.assign(_label=truth, _prediction=truth + np.random.default_rng(seed).normal(0, error, n))

    metrics = [{"name": "mae", "max": 1.0}, {"name": "r2"}]
    spec = loop("regression", scope={"problem": "regression", "metrics": metrics})
    for error, alarms in ((0.5, []), (3.0, ["mae"])):
        served = window(numbers(400, 2, error).assign(_prediction=lambda f: f["_prediction"].map(repr)))
        verdict = monitor(
            spec, numbers(2000, 0, 0.5), numbers(500, 1, 0.5), served, now=served.until, columns=COLUMNS, classes=None
        )
        assert [one.metric for one in verdict.alarms] == alarms
        assert verdict.quality["mae"].value == pytest.approx(error * (2 / np.pi) ** 0.5, rel=0.15)
        assert verdict.holdout["mae"].value == pytest.approx(0.5 * (2 / np.pi) ** 0.5, rel=0.15)
        assert verdict.unseen == ()
        assert verdict.prediction_drift is not None
        assert verdict.prediction_drift.kind == "number"


def logs(frame: pd.DataFrame, wait: timedelta, version: str = "1") -> tuple[pd.DataFrame, pd.DataFrame]:
    predictions = pd.DataFrame(
        {
            "id": frame["_id"],
            "time": frame["_time"],
            "version": version,
            "shadow": False,
            "attempt": 1,
            "features": [json.dumps({"size": s, "kind": k}) for s, k in zip(frame["size"], frame["kind"], strict=True)],
            "prediction": frame["_prediction"],
            "scores": None,
            "latency_ms": frame["_latency_ms"],
        }
    )
    labels = pd.DataFrame(
        {"id": frame["_id"], "label": frame["_label"], "time": frame["_time"] + wait, "source": "http"}
    )
    return predictions, labels


def test_a_window_takes_served_rows_by_event_time_and_labels_by_when_they_ripened() -> None:
    frame = rows(100, days=100)  # one a day
    predictions, labels = logs(frame, timedelta(days=2))
    labels.loc[10, "time"] = START + 55 * DAY  # late: ripens when it arrives
    now = START + 60 * DAY
    joined = cohort.join(predictions, labels, now, 30 * DAY)
    found = collect.window(joined, COLUMNS, since=START + 50 * DAY, until=now, version="1")
    assert found.served["_id"].tolist() == [f"row-{i}" for i in range(50, 60)]
    assert set(found.matured["_id"]) == {f"row-{i}" for i in range(21, 31)} | {"row-10"}
    assert found.served["size"].tolist() == pytest.approx(frame["size"][50:60].tolist())
    assert found.matured["_label_time"].max() <= pd.Timestamp(now)
    assert len(found.labels) == 11


def test_quality_is_of_the_champions_own_answers_and_unseen_classes_of_all_labels() -> None:
    frame = rows(600, days=30, since=START + 300 * DAY)
    frame.loc[frame.index[:300], "_label"] = "c"
    old, labels = logs(frame, timedelta(0), "1")
    old.loc[old.index[300:], "version"] = "2"
    now = START + 330 * DAY
    found = collect.window(
        cohort.join(old, labels, now, timedelta(0)), COLUMNS, since=now - 30 * DAY, until=now, version="2"
    )
    verdict = watch(found)
    assert verdict.rows == 600
    assert verdict.labels == 300
    assert verdict.quality["accuracy"].value == pytest.approx(0.9, abs=0.06)
    assert [(one.label, one.count) for one in verdict.unseen] == [("c", 300)] or verdict.unseen[0].count == 299


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 59), st.integers(0, 90)), min_size=1, max_size=40), st.integers(0, 40))
def test_every_label_ripens_in_exactly_one_of_consecutive_windows(when: list[tuple[int, int]], delay: int) -> None:
    frame = rows(len(when))
    frame["_time"] = pd.to_datetime([START + DAY * event for event, _ in when], utc=True)
    predictions, labels = logs(frame, timedelta(0))
    labels["time"] = pd.to_datetime([START + DAY * (event + wait) for event, wait in when], utc=True)
    seen: list[str] = []
    until = START
    while until <= START + 160 * DAY:
        joined = cohort.join(predictions, labels, until, delay * DAY)
        one = collect.window(joined, COLUMNS, since=until - 10 * DAY, until=until)
        assert (one.matured["_label_time"] <= pd.Timestamp(until)).all()
        seen += one.matured["_id"].tolist()
        until += 10 * DAY
    assert sorted(seen) == sorted(frame["_id"])


def test_a_hundred_thousand_rows_take_little_time() -> None:
    big = rows(100_000, seed=3)
    verdict = watch(window(big))
    assert verdict.rows == verdict.drift.rows == 100_000
    assert verdict.verdict == "healthy"
