"""Split: no hold-out row could have taught the model, and the same rows fall the same way in any order."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tabular import data

from trimtab.errors import DataRefused
from trimtab.spec.data import Data, Split
from trimtab.stages.split import split

SECTION = data(entity="e")


def table(days: list[int], labels: list[str], entities: list[str] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"y": labels, "e": entities or labels, "_id": [f"r{i}" for i in range(len(days))]})
    frame["_time"] = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(days, unit="D")
    return frame.sort_values("_time", kind="stable", ignore_index=True)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    size = draw(st.integers(2, 60))
    column = lambda values: draw(st.lists(values, min_size=size, max_size=size))  # noqa: E731
    return table(
        column(st.integers(0, 15)), column(st.sampled_from("abc")), column(st.sampled_from(["p", "q", "r", "s", "t"]))
    )


def attempt(frame: pd.DataFrame, how: str, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    try:
        return split(frame, Split(by=how, holdout=share), SECTION, seed)
    except DataRefused:
        return None


@settings(max_examples=200, deadline=None)
@given(
    frame=tables(),
    how=st.sampled_from(["time", "entity", "stratified"]),
    share=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32 - 1),
    order=st.integers(0, 9),
)
def test_every_split_keeps_its_promise(frame: pd.DataFrame, how: str, share: float, seed: int, order: int) -> None:
    sides = attempt(frame, how, share, seed)
    if sides is None:
        impossible = {
            "time": frame["_time"].nunique() < 2,
            "entity": frame["e"].nunique() < 2,
            "stratified": frame["y"].value_counts().max() < 2,
        }[how]
        assert impossible or (frame["y"].nunique() > 1)
        return
    train, held = sides
    assert len(train) > 0
    assert len(held) > 0
    assert sorted([*train["_id"], *held["_id"]]) == sorted(frame["_id"])
    if how == "time":
        assert train["_time"].max() < held["_time"].min()
    if how == "entity":
        assert not set(train["e"]) & set(held["e"])
    if how == "stratified":
        for label, rows in frame["y"].value_counts().items():
            assert (train["y"] == label).any()
            assert (held["y"] == label).any() == (rows >= 2)
    shuffled = frame.sample(frac=1, random_state=order)
    again = attempt(shuffled, how, share, seed)
    assert again is not None
    assert set(again[1]["_id"]) == set(held["_id"])


def test_the_share_is_near_what_was_asked() -> None:
    frame = table(list(range(1000)), ["a", "b"] * 500, [f"e{i % 50}" for i in range(1000)])
    for how in ("time", "entity", "stratified"):
        sides = attempt(frame, how, 0.2, 7)
        assert sides is not None
        assert 190 <= len(sides[1]) <= 210, how


def test_another_seed_is_another_hold_out() -> None:
    frame = table(list(range(200)), ["a", "b"] * 100)
    one, two = (attempt(frame, "stratified", 0.2, seed) for seed in (1, 2))
    assert one is not None
    assert two is not None
    assert set(one[1]["_id"]) != set(two[1]["_id"])


def test_a_measured_label_is_stratified_by_size() -> None:
    frame = table(list(range(500)), ["a"] * 500)
    frame["y"] = [i / 7 for i in range(500)]
    sides = attempt(frame, "stratified", 0.2, 3)
    assert sides is not None
    assert abs(sides[0]["y"].mean() - sides[1]["y"].mean()) < 2


@pytest.mark.parametrize(
    ("frame", "how", "section", "message"),
    [
        (table([0], ["a"]), "time", SECTION, "1 row.s. cannot be split"),
        (table([1, 1, 1], ["a", "b", "a"]), "time", SECTION, "all 3 rows have the event time"),
        (table([1, 2], ["a", "b"], ["p", "p"]), "entity", SECTION, "one value only, 'p'"),
        (table([1, 2], ["a", "b"]), "entity", data(), "needs `data.entity`"),
        (table([1, 2], ["a", "b"], ["p", None]), "entity", SECTION, "row 'r1' has no 'e'"),
        (table([1, 2, 3], ["a", "b", "c"]), "stratified", SECTION, "one row only"),
        (table([1, 2, 3, 4], ["a", "a", "b", "b"]), "time", SECTION, "all training rows would be y = 'a'"),
    ],
)
def test_impossible_splits_are_refused(frame: pd.DataFrame, how: str, section: Data, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        split(frame, Split(by=how, holdout=0.5), section, 7)
