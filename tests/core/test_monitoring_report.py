"""Evidently's report: real Evidently, no network, opens offline, and its tables say what the verdict says."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_monitor import COLUMNS, ODD, loop, rows, watch, window

from trimtab.stages import collect, evidently_snapshots, monitoring_report
from trimtab.stages.monitor import monitor
from trimtab.stages.monitoring_report import MonitoringReport


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"a connection was tried: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def written(served: collect.Window, **kwargs: Any) -> tuple[MonitoringReport, dict[str, Any]]:
    verdict = watch(served, **kwargs)
    report = monitoring_report.write(loop(), rows(3000), rows(500, seed=1), served, verdict, columns=COLUMNS)
    return report, json.loads(report.json, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))


def drift_values(document: dict[str, Any]) -> dict[str, float]:
    found = [one for part in document["evidently"]["drift"] for one in part["metrics"]]
    return {one["config"]["column"]: one["value"] for one in found if "ValueDrift" in one["metric_name"]}


def test_the_tables_show_the_scores_of_the_verdict() -> None:
    report, document = written(window(rows(600, seed=2, shift=3)))
    judged = {one["feature"]: one["psi"] for one in document["verdict"]["drift"]["columns"]}
    judged["prediction"] = document["verdict"]["prediction_drift"]["psi"]
    assert drift_values(document) == pytest.approx(judged)
    assert document["notes"] == []
    accuracy = [
        one["value"] for one in document["evidently"]["quality"][0]["metrics"] if "Accuracy" in one["metric_name"]
    ]
    assert accuracy == pytest.approx([document["verdict"]["quality"]["accuracy"]["value"]])
    assert "Alarm" in report.html
    assert "PSI, calibrated by trimtab" in report.html
    assert "Dataset Drift is detected" in report.html


def test_an_unchanged_window_shows_no_detection() -> None:
    report, _ = written(window(rows(600, seed=2)))
    assert "Dataset Drift is NOT detected" in report.html


def test_the_page_loads_nothing_from_elsewhere() -> None:
    report, _ = written(window(rows(600, seed=2)))
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?([^\"'> ]+)", report.html) == []
    assert re.findall(r"<link[^>]*href", report.html) == []
    assert not [one for one in re.findall(r"url\(([^)]{4,40})", report.html) if one.startswith(("http", "//"))]


@pytest.mark.parametrize("name", ODD)
def test_odd_windows_are_written(name: str) -> None:
    report, document = written(window(ODD[name]))
    assert "<html" in report.html
    assert not [note for note in document["notes"] if "Evidently could not" in note]
    if name in ("a column is missing throughout", "text where numbers were"):
        assert "size is not in the drift tables: no value to compare" in document["notes"]


def test_classes_that_the_holdout_lacks_and_many_classes() -> None:
    frame = rows(600, seed=2)
    frame.loc[frame.index[:90], "_label"] = [f"c{i}" for i in range(90)]
    report, document = written(window(frame))
    assert document["notes"] == []
    assert len(document["evidently"]["quality"]) == 2
    assert evidently_snapshots.OTHERS in report.html


def test_regression_report() -> None:
    def numbers(n: int, seed: int) -> pd.DataFrame:
        frame = rows(n, seed=seed)
        return frame.assign(_label=frame["size"] * 2.0, _prediction=(frame["size"] * 2.0 + 0.1).map(repr))

    spec = loop("regression")
    served = window(numbers(400, 2))
    verdict = watch(served, spec, classes=None)
    reference, holdout = numbers(2000, 0), numbers(300, 1)
    report = monitoring_report.write(spec, reference, holdout, served, verdict, columns=COLUMNS)
    document = json.loads(report.json)
    assert document["notes"] == []
    names = [one["metric_name"] for one in document["evidently"]["quality"][0]["metrics"]]
    assert any(name.startswith("MAE") for name in names)


def test_what_evidently_cannot_show_is_said_and_costs_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise KeyError("plot")

    monkeypatch.setattr(evidently_snapshots, "quality", fail)
    report, document = written(window(rows(600, seed=2)))
    assert document["notes"] == ["Evidently could not show quality: KeyError: 'plot'"]
    assert document["verdict"]["verdict"] == "healthy"
    assert drift_values(document)
    assert "Evidently could not show quality" in report.html


def test_many_rows_and_columns_are_capped() -> None:
    random = np.random.default_rng(5)
    wide = {f"c{i}": random.normal(size=20_000) for i in range(60)}
    frame = pd.concat([rows(20_000, seed=2), pd.DataFrame(wide)], axis=1)
    moved = frame.assign(c59=frame["c59"] + 3)
    names = [*COLUMNS, *wide]
    served = window(moved)
    verdict = watch(served)  # warms Evidently's import, and is not what is measured
    from trimtab.stages.monitor import monitor

    verdict = monitor(loop(), frame[:5000], frame[:100], served, now=served.until, columns=names, classes=["a", "b"])
    assert verdict.drift.causes == ("c59",)
    began = time.process_time()
    report = monitoring_report.write(loop(), frame[:5000], frame[:100], served, verdict, columns=names)
    assert time.process_time() - began < 30
    shown = drift_values(json.loads(report.json))
    assert len(shown) == monitoring_report.MOST_COLUMNS + 1  # and the prediction
    assert "c59" in shown


def test_the_stage_imports_no_evidently_before_it_writes() -> None:
    program = (
        "import sys; import trimtab.stages.monitor, trimtab.stages.monitoring_report; print('evidently' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_columns_that_are_called_like_ours_are_peoples_own() -> None:
    names = {"size": "prediction", "kind": "version"}
    reference, holdout = (rows(n, seed=n).rename(columns=names).assign(label=1.0) for n in (2000, 300))
    same = window(rows(400, seed=2).rename(columns=names).assign(label=1.0, _version="1"))
    moved = window(same.served.assign(prediction=lambda frame: frame["prediction"] + 5))
    columns = ["prediction", "version", "label"]
    for served, causes in ((same, ()), (moved, ("prediction",))):
        verdict = monitor(loop(), reference, holdout, served, now=served.until, columns=columns, classes=["a", "b"])
        assert verdict.drift.causes == causes
        report = monitoring_report.write(loop(), reference, holdout, served, verdict, columns=columns)
        assert json.loads(report.json)["notes"] == []
        assert "(prediction)" in report.html
