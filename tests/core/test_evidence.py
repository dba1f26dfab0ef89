"""Evidence from the logs can always be stored, however little there is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.records.memory import MemoryRecords
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.decisions.observed import Observed
from trimtab.decisions.state import Cause, LoopState, Release
from trimtab.loop.evidence import Evidence, gather
from trimtab.ports.registry import RegisteredVersion
from trimtab.spec.document import LoopSpec
from trimtab.stages.register import short
from trimtab.testing.bundles import document

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _spec(problem: str) -> LoopSpec:
    return document(problem, scope={"problem": problem, "metrics": _METRICS[problem]}).spec


_METRICS = {
    "regression": [{"name": name} for name in ("mae", "rmse", "r2")],
    "classification": [{"name": name} for name in ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")],
}


def _gathered(
    problem: str,
    answers: list[tuple[str, str, bool, str]],
    state: LoopState,
    champion: RegisteredVersion | None = None,
) -> Evidence:
    """Answers are (version, prediction, shadow, label); an hour apart, labels half an hour later."""
    predictions, labels = MemoryRecords(PREDICTIONS), MemoryRecords(LABELS)
    for number, (version, prediction, shadow, label) in enumerate(answers):
        time = T0 + number * HOUR
        id_ = f"r{number}"
        record: dict[str, Any] = {"id": id_, "time": time.isoformat(), "version": version, "shadow": shadow}
        more = {"attempt": 1, "protocol": "v1", "features": "{}", "scores": None, "latency_ms": 2.0}
        predictions.append([{**record, **more, "prediction": prediction}])
        if shadow:
            predictions.append([{**record, **more, "version": "1", "shadow": False, "prediction": prediction}])
        known = (time + HOUR / 2).isoformat()
        labels.append([{"id": id_, "label": label, "time": known, "source": "http"}])
    return gather(_spec(problem), state, T0 + 2 * len(answers) * HOUR + HOUR, predictions, labels, champion)


def _storable(evidence: Evidence) -> Observed:
    seen = Observed(now=T0, quality=evidence.quality, comparison=evidence.comparison, latency=evidence.latency)
    assert seen.to_json()
    return seen


def test_one_mistyped_label_does_not_weigh_as_much_as_a_class() -> None:
    state = LoopState(champion="1", champion_since=T0)
    right = [("1", "a", False, "a"), ("1", "b", False, "b")] * 20
    quality = _gathered("classification", [*right, ("1", "a", False, "5")], state).quality
    assert quality is not None
    assert (quality.live["accuracy"].n, quality.live["accuracy"].value) == (41, 40 / 41)
    for metric in ("macro_f1", "balanced_accuracy"):
        assert (quality.live[metric].n, quality.live[metric].value) == (40, 1.0)
    new = [("1", "a", False, "c")] * 20  # as many as retraining.newClassLeast: a class, and one that it never tells
    counted = _gathered("classification", [*right, *new], state).quality
    assert counted is not None
    assert counted.live["balanced_accuracy"].value == pytest.approx(2 / 3)


def _registered(**evaluation: Any) -> RegisteredVersion:
    told = {"verdict": "pass", "n": 100, "metrics": {}, "champion": {}, **evaluation}
    return RegisteredVersion("m", "1", "d", Path(), json.loads(json.dumps(short(told))), "")


def test_a_class_that_the_version_knows_counts_though_it_never_says_it() -> None:
    """Two rare labels that the version always misses: its macro F1 is no 1."""
    state = LoopState(champion="1", champion_since=T0)
    answers = [("1", "a", False, "a"), ("1", "b", False, "b")] * 20 + [("1", "a", False, "rare")] * 2
    many = [f"class {number}" for number in range(1000)]
    for told, n in (
        (_registered(classes=["a", "b", "rare"]), 42),
        (_registered(confusion={"labels": ["a", "b", "rare"], "counts": []}), 42),
        (_registered(classes=["a", "b", "rare", *many]), 40),  # too many for a tag: those that it said in the window
        (_registered(), 40),  # as versions were registered before
        (None, 40),
    ):
        quality = _gathered("classification", answers, state, told).quality
        assert quality is not None
        assert {quality.live[metric].n for metric in ("macro_f1", "balanced_accuracy")} == {n}


def test_what_is_kept_of_the_evidence_fits_a_tag() -> None:
    for names in (["a", "b"], ["ü" * 100] * 7, ["ü" * 100] * 9):
        assert len(json.dumps(dict(_registered(classes=names).evidence))) <= 5000


@pytest.mark.parametrize("champion_since", [T0, T0 + timedelta(days=3650)], ids=["as it was", "by a clock ahead"])
def test_quality_can_be_sure_whatever_the_clock_said_at_the_promotion(champion_since: datetime) -> None:
    state = LoopState(champion="1", champion_since=champion_since, set_back=T0)
    quality = _gathered("classification", [("1", "a", False, "a")] * 120, state).quality
    assert quality is not None
    assert quality.sure is not None
    assert quality.sure["accuracy"].n >= 100
    assert quality.sure["accuracy"].low < quality.live["accuracy"].low  # the price of looking often


@pytest.mark.parametrize("problem", ["classification", "regression"])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 40])
def test_any_number_of_labels_can_be_stored(problem: str, rows: int) -> None:
    state = LoopState(champion="1", champion_since=T0)
    predicted, label = ("a", "a") if problem == "classification" else ("2.5", "3")
    found = _storable(_gathered(problem, [("1", predicted, False, label)] * rows, state))
    assert found.quality is not None
    if rows == 40:
        assert found.quality.live


@pytest.mark.parametrize("problem", ["classification", "regression"])
@pytest.mark.parametrize("rows", [0, 1, 2, 30])
def test_any_number_of_compared_rows_can_be_stored(problem: str, rows: int) -> None:
    release = Release("2", Cause("person", "person", "person:1", "asked"), T0, "shadow", T0, mirror_percent=100)
    state = LoopState(champion="1", champion_since=T0 - HOUR, release=release)
    predicted, label = ("a", "b") if problem == "classification" else ("2.5", "3")
    found = _storable(_gathered(problem, [("2", predicted, True, label)] * rows, state))
    assert found.comparison is not None
    pairs = found.comparison.paired or found.comparison.differences
    assert pairs is not None
    assert pairs.n == rows


def test_a_label_that_is_no_number_does_not_stop_a_regression() -> None:
    state = LoopState(champion="1", champion_since=T0)
    answers = [("1", "2.5", False, "3"), ("1", "2.5", False, "abc"), ("1", "2.5", False, "2")]
    found = _gathered("regression", answers, state)
    assert found.quality is not None
    assert found.quality.live["mae"].n == 2
    assert found.counts["unusable_labels"] == 1
