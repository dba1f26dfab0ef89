"""Cohort: metrics see what was known at a moment, each answer once, and nothing from after it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.errors import DataRefused
from trimtab.stages.cohort import Cohort, expand_features, join

START = datetime(2024, 1, 1, tzinfo=UTC)
PREDICTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("version", pa.string()),
        ("shadow", pa.bool_()),
        ("attempt", pa.int32()),
        ("protocol", pa.string()),
        ("features", pa.string()),
        ("prediction", pa.string()),
        ("scores", pa.list_(pa.float64())),
        ("latency_ms", pa.float64()),
    ]
)
LABELS = pa.schema(
    [("id", pa.string()), ("label", pa.string()), ("time", pa.timestamp("us", "UTC")), ("source", pa.string())]
)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def told(name: str, hour: float, **changes: Any) -> dict[str, Any]:
    plain = {"version": "1", "shadow": False, "attempt": 1, "prediction": "a", "scores": [0.9, 0.1]}
    fixed = {"protocol": "v1", "features": json.dumps({"x": hour}), "latency_ms": 1.0}
    return {"id": name, "time": at(hour), **plain, **fixed, **changes}


def label(name: str, hour: float, value: str = "a") -> dict[str, Any]:
    return {"id": name, "label": value, "time": at(hour), "source": "http"}


def cohort(predictions: list[dict[str, Any]], labels: list[dict[str, Any]], now: float, delay: float = 0) -> Cohort:
    return join(
        pa.Table.from_pylist(predictions, PREDICTIONS),
        pa.Table.from_pylist(labels, LABELS),
        at(now),
        timedelta(hours=delay),
    )


def test_the_last_attempt_is_the_answer_and_counts_once() -> None:
    records = [
        told("p", 1, attempt=1, version="2", prediction="wrong"),
        told("p", 1, attempt=2, version="1", prediction="right"),
        told("p", 1, attempt=2, version="1", prediction="right"),
        told("p", 1, attempt=9, version="2", shadow=True, prediction="aside"),
    ]
    result = cohort(records, [label("p", 2)], now=5)
    assert result.answers["prediction"].tolist() == ["right"]
    assert result.shadows["prediction"].tolist() == ["aside"]
    assert (result.counts.predictions, result.counts.answers, result.counts.superseded, result.counts.shadow) == (
        4,
        1,
        2,
        1,
    )


def test_the_label_that_arrived_last_counts_and_the_rest_is_counted() -> None:
    labels = [label("p", 3, "b"), label("p", 2, "a"), label("p", 4, "b"), label("q", 2, "a"), label("q", 2, "a")]
    result = cohort([told("p", 1), told("q", 1)], [*labels, label("ghost", 2)], now=5)
    assert dict(zip(result.answers["id"], result.answers["label"], strict=True)) == {"p": "b", "q": "a"}
    counts = result.counts
    assert (counts.labels, counts.duplicate_labels, counts.changed_labels, counts.unknown_ids) == (6, 2, 1, 1)


def test_maturity_waits_for_the_delay_and_for_the_label() -> None:
    predictions = [
        told(name, hour) for name, hour in [("old", 0), ("overdue", 1), ("early", 8), ("new", 9), ("late", 2)]
    ]
    predictions.append(told("known before", 5))
    labels = [label("old", 3), label("early", 9), label("late", 9), label("known before", 4), label("new", 11)]
    result = cohort(predictions, labels, now=10, delay=4)
    assert set(result.scored().ids) == {"old", "late", "known before"}
    expected = {"matured": 3, "overdue": 1, "early": 1, "awaiting": 1, "late": 1, "before_prediction": 1}
    assert {name: count for name, count in result.summary().items() if name in expected} == expected
    assert set(result.unlabelled()["id"]) == {"overdue", "new"}


def test_champion_and_shadow_candidate_are_compared_on_the_same_ids() -> None:
    records = [told("p", 2), told("q", 1), told("r", 3)]
    records += [told(name, 2, version="2", shadow=True, prediction="b", scores=[0.2, 0.8]) for name in ("q", "p", "x")]
    champion, candidate = cohort(records, [label(name, 4, "b") for name in "pqrx"], now=9).paired("1", "2")
    assert champion.ids.tolist() == candidate.ids.tolist() == ["q", "p"]
    assert champion.prediction.tolist() == ["a", "a"]
    assert candidate.prediction.tolist() == ["b", "b"]
    assert candidate.scores is not None
    np.testing.assert_array_equal(candidate.scores, [[0.2, 0.8]] * 2)
    assert candidate.truth.tolist() == ["b", "b"]


def test_scored_gives_scores_features_and_numbers() -> None:
    records = [told("p", 1, prediction="1.5"), told("q", 2, prediction="2.0", version="2", scores=[1.0])]
    result = cohort(records, [label("p", 3, "1"), label("q", 3, "2.5")], now=9)
    both = result.scored()
    assert both.scores is None  # two versions with other classes
    truth, prediction = both.numbers()
    assert truth.tolist() == [1.0, 2.5]
    assert prediction.tolist() == [1.5, 2.0]
    one = result.scored("2")
    assert one.frame(["x", "gone"]).to_dict("records") == [{"x": 2, "gone": None}]
    bad = cohort([told("p", 1, prediction="1")], [label("p", 2, "much")], now=9).scored()
    with pytest.raises(DataRefused, match="label of 'p' is 'much'"):
        bad.numbers()


def test_empty_logs_make_an_empty_cohort() -> None:
    result = cohort([], [], now=1)
    assert len(result.scored()) == 0
    assert set(result.summary().values()) == {0}
    assert len(result.feedback(["x"], "y")) == 0
    assert len(cohort([], [label("p", 0)], now=1).answers) == 0


def test_frames_of_pandas_with_nanoseconds_or_no_rows_are_taken() -> None:
    predictions = pd.DataFrame([told("p", 1)])
    predictions["time"] = pd.to_datetime(["2024-01-01T01:00:00.123456789Z"])
    labels = pd.DataFrame([label("p", 2)])
    result = join(predictions, labels, at(3), timedelta(0))
    assert result.scored().truth.tolist() == ["a"]
    empty = join(predictions.iloc[:0], pd.DataFrame(columns=LABELS.names), at(3), timedelta(0))
    assert empty.counts.answers == 0


def test_records_of_another_log_are_refused() -> None:
    with pytest.raises(DataRefused, match=r"prediction records lack the columns .*'attempt'"):
        join(pa.table({"id": ["a"], "time": [START]}), pa.Table.from_pylist([], LABELS), START, timedelta(0))


def test_feedback_rows_can_be_read_by_ingest() -> None:
    rows = cohort([told("p", 1), told("q", 2)], [label("p", 3, "b")], now=9).feedback(["x", "y"], "y")
    assert rows[["_id", "x", "y"]].to_numpy().tolist() == [["p", 1, "b"]]
    assert rows["_label_time"].tolist() == [pd.Timestamp(at(3))]


RECORDS = st.lists(
    st.builds(
        told,
        st.sampled_from("pqrs"),
        st.integers(0, 10),
        version=st.sampled_from("12"),
        shadow=st.booleans(),
        attempt=st.integers(1, 3),
        prediction=st.sampled_from("ab"),
    ),
    max_size=12,
)
LABEL_RECORDS = st.lists(
    st.builds(label, st.sampled_from("pqrst"), st.integers(0, 12), st.sampled_from("abc")), max_size=12
)


def oracle(
    predictions: list[dict[str, Any]], labels: list[dict[str, Any]], now: int, delay: int
) -> dict[str, tuple[str, str]]:
    """Id -> (prediction, label) of the matured answers, written as the rules are said."""
    seen = [record for record in predictions if record["time"] <= at(now) and not record["shadow"]]
    arrived = [record for record in labels if record["time"] <= at(now)]
    result = {}
    for name in {record["id"] for record in seen}:
        key = lambda r: (r["attempt"], r["time"], r["version"], r["prediction"])  # noqa: E731
        answer = max((record for record in seen if record["id"] == name), key=key)
        own = [record for record in arrived if record["id"] == name]
        if own and answer["time"] + timedelta(hours=delay) <= at(now):
            result[name] = (answer["prediction"], max(own, key=lambda r: (r["time"], r["label"]))["label"])
    return result


@settings(max_examples=300, deadline=None)
@given(RECORDS, LABEL_RECORDS, st.integers(0, 13), st.integers(0, 6), st.randoms(use_true_random=False))
def test_join_says_what_the_rules_say(
    predictions: list[dict[str, Any]], labels: list[dict[str, Any]], now: int, delay: int, order: Any
) -> None:
    result = cohort(predictions, labels, now, delay)
    rows = result.scored()
    found = dict(zip(rows.ids, zip(rows.prediction, rows.truth, strict=True), strict=True))
    assert found == oracle(predictions, labels, now, delay)
    counts = result.counts
    assert counts.answers == counts.matured + counts.overdue + counts.early + counts.awaiting
    assert counts.predictions == counts.answers + counts.superseded + sum(
        r["shadow"] and r["time"] <= at(now) for r in predictions
    )
    # nothing after `now` is seen: cutting the future off, repeating and shuffling the rest changes nothing
    past = [r for r in predictions if r["time"] <= at(now)]
    known = [r for r in labels if r["time"] <= at(now)]
    order.shuffle(past)
    order.shuffle(known)
    cut = cohort(past, known, now, delay)
    assert cut.counts == result.counts
    pd.testing.assert_frame_equal(cut.answers, result.answers)
    pd.testing.assert_frame_equal(cut.shadows, result.shadows)


def test_expanding_features_gives_the_types_of_ingest() -> None:
    texts = ['{"i":1,"f":1.5,"b":true,"s":"x","m":1}', '{"i":2,"f":2,"b":false,"s":null,"m":null}']
    frame = expand_features(texts, ["i", "f", "b", "s", "m", "none"])
    assert [dtype.kind for dtype in frame.dtypes] == ["i", "f", "b", "O", "f", "O"]
    assert frame["s"].tolist() == ["x", None]
    assert expand_features([], ["i"]).columns.tolist() == ["i"]


@pytest.mark.slow
def test_a_million_records_are_joined() -> None:
    size = 1_000_000
    random = np.random.default_rng(7)
    ids = np.char.add("request-", random.integers(0, size, size).astype(str))
    times = np.datetime64("2024-01-01", "us") + random.integers(0, 10**12, size).astype("timedelta64[us]")
    predictions = pa.table(
        {
            "id": ids,
            "time": pa.array(times, pa.timestamp("us", "UTC")),
            "version": np.array(["1", "2"])[random.integers(0, 2, size)],
            "shadow": random.random(size) < 0.3,
            "attempt": random.integers(1, 3, size).astype(np.int32),
            "features": np.full(size, '{"x":1.5,"y":"z"}'),
            "prediction": np.full(size, "a"),
            "scores": pa.array([[0.1, 0.9]] * size),
        }
    )
    labels = predictions.select(["id", "time"]).append_column("label", predictions["prediction"])
    result = join(predictions, labels, datetime(2025, 1, 1, tzinfo=UTC), timedelta(days=1))
    rows = result.scored("1")
    assert len(rows.frame(["x", "y"])) == len(rows) > 200_000


def test_labels_that_are_no_number_are_counted_and_left_out_where_a_number_is_predicted() -> None:
    found = join(
        pa.Table.from_pylist([told("a", 1, prediction="2.5"), told("b", 2, prediction="3.5")], PREDICTIONS),
        pa.Table.from_pylist([label("a", 3, "2"), label("b", 3, "abc"), label("b", 4, "nan")], LABELS),
        at(5),
        timedelta(0),
        numbers=True,
    )
    truth, prediction = found.scored().numbers()
    assert (truth.tolist(), prediction.tolist()) == ([2.0], [2.5])
    assert (found.counts.labels, found.counts.unusable_labels, found.counts.matured) == (3, 2, 1)


@pytest.mark.parametrize(
    ("answers", "sent", "known_as"),
    [
        (
            ["0", "1"],
            ["1", "1.0", "true", "0.0", "2.0", "1.5", "01", "cat"],
            ["1", "1", "1", "0", "2", "1.5", "01", "cat"],
        ),
        (["0.0", "1.0"], ["1", "1.0", "true", "2"], ["1.0", "1.0", "1.0", "2.0"]),
        (["True", "False"], ["true", "True", "0", "2"], ["True", "True", "False", "2"]),
        (["1", "other"], ["1.0", "true"], ["1.0", "true"]),
    ],
)
def test_labels_are_known_by_the_spelling_of_the_answers(
    answers: list[str], sent: list[str], known_as: list[str]
) -> None:
    others = [told(f"o{n}", 0, prediction=answer) for n, answer in enumerate(answers)]
    asked = [told(f"i{n}", 0, prediction=answers[0]) for n in range(len(sent))]
    labels = [label(f"i{n}", 1, value) for n, value in enumerate(sent)]
    assert list(cohort(others + asked, labels, 2).scored().truth) == known_as


def test_two_versions_that_spell_differently_are_compared_on_the_same_values() -> None:
    rows = [told("i", 0, prediction="1"), told("i", 0, version="2", shadow=True, prediction="1.0")]
    champion, candidate = cohort(rows, [label("i", 1, "1")], 2).paired("1", "2")
    assert (list(champion.truth), list(candidate.truth)) == (["1"], ["1.0"])


def test_a_regression_keeps_its_labels_as_they_were_sent() -> None:
    joined = join(
        pa.Table.from_pylist([told("i", 0, prediction="1.0")], PREDICTIONS),
        pa.Table.from_pylist([label("i", 1, "12")], LABELS),
        at(2),
        timedelta(0),
        numbers=True,
    )
    assert list(joined.scored().truth) == ["12"]
