"""Features: the row path and the frame path make the same matrix, and nothing is learnt from what was held out."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabular import RODENTS, data

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.spec.features import Features
from trimtab.stages import ingest, validate
from trimtab.stages import split as splitting
from trimtab.stages.contract import Contract
from trimtab.stages.featurejson import expand_features
from trimtab.stages.features import Transform, fit

_START = datetime(2020, 2, 29, 23, 30, tzinfo=UTC)
_PARTS = ("month", "day_of_year", "weekday", "hour")


def frame(**columns: list[Any]) -> pd.DataFrame:
    """Rows an hour apart, with a label of two classes."""
    n = len(next(iter(columns.values())))
    times = pd.Series([_START + timedelta(hours=number) for number in range(n)]).astype("datetime64[us, UTC]")
    return pd.DataFrame({**columns, "y": (["a", "b"] * n)[:n], "_id": [str(i) for i in range(n)], "_time": times})


def contract(rows: pd.DataFrame) -> Contract:
    return validate.infer(rows, data(), "classification")


def fitted(rows: pd.DataFrame, **spec: Any) -> Transform:
    return fit(Features.model_validate(spec), contract(rows), rows)


def column(transform: Transform, rows: pd.DataFrame, name: str) -> list[float]:
    return transform.apply(rows)[:, transform.names.index(name)].tolist()


def same(one: np.ndarray, other: np.ndarray) -> None:
    assert one.dtype == other.dtype == np.float64
    assert one.tobytes() == other.tobytes()


@pytest.fixture(scope="module")
def rodents() -> tuple[pd.DataFrame, Data]:
    section = Data.model_validate(
        {
            "source": {"path": "captures.csv.gz"},
            "id": "record_id",
            "time": {"year": "year", "month": "month", "day": "day"},
            "label": {"column": "genus"},
            "ignore": ["species_id", "species", "taxa", "plot_id"],
        }
    )
    return ingest.read(section, RODENTS, as_of=None), section


@pytest.mark.parametrize(
    "spec",
    [
        {"timeParts": _PARTS},
        {"numeric": {"impute": "mean", "scale": "standard"}, "categorical": {"encode": "ordinal"}},
        {"numeric": {"impute": "none"}, "categorical": {"maxCategories": 2}},
        {"crosses": [{"columns": ["sex", "plot_type"]}], "numeric": {"impute": "zero"}},
    ],
)
def test_every_real_row_is_the_same_by_frame_by_row_and_from_the_log(
    rodents: tuple[pd.DataFrame, Data], spec: dict[str, Any]
) -> None:
    rows, section = rodents
    features = Features.model_validate(spec)
    transform = fit(features, validate.infer(rows, section, "classification"), rows[: len(rows) // 2])
    texts = [line for line in rows[list(transform.columns)].to_json(orient="records", lines=True).split("\n") if line]
    requests, times = [json.loads(line) for line in texts], [time.to_pydatetime() for time in rows["_time"]]
    whole = transform.apply(rows)
    assert len(whole) > 30_000
    same(whole, transform.apply_rows(requests, times))
    same(whole, transform.apply(expand_features(texts, transform.columns).assign(_time=rows["_time"])))
    one_at_a_time = [transform.apply_rows([requests[i]], [times[i]]) for i in range(0, len(rows), 97)]
    same(whole[::97], np.concatenate(one_at_a_time))


_NUMBERS = st.none() | st.integers(-(2**70), 2**70) | st.floats() | st.booleans()
_CELLS = _NUMBERS | st.floats().map(repr) | st.dates() | st.text(max_size=4)
_TEXTS = st.sampled_from(["a", "b", "c", "3"]) | st.text(max_size=3) | st.none() | st.booleans() | st.integers(0, 9)
_TRAINED = frame(
    x=[1, 2, None, 4.5, 9, 3],
    n=[1, 2, 3, 4, 5, 6],
    s=["a", "b", None, "c", "3", "a"],
    flag=[True, False, None, True, True, False],
    b=[True, False, True, True, False, True],
)
_FITTED = [
    fitted(_TRAINED, timeParts=_PARTS, crosses=[{"columns": ["s", "flag"]}], numeric={"scale": "standard"}),
    fitted(_TRAINED, numeric={"impute": "none"}, categorical={"encode": "ordinal", "maxCategories": 2}),
]
_ROWS = st.fixed_dictionaries(
    {}, optional={"x": _CELLS, "n": _CELLS, "s": _TEXTS | st.floats(), "flag": st.booleans() | st.none(), "b": _TEXTS}
)


@given(rows=st.lists(_ROWS, min_size=1, max_size=6), seconds=st.integers(-(10**9), 10**9), zone=st.integers(-23, 23))
def test_odd_rows_are_the_same_by_frame_and_by_row_or_refused_by_both(
    rows: list[dict[str, Any]], seconds: int, zone: int
) -> None:
    moments = [_START + timedelta(seconds=seconds, hours=number) for number in range(len(rows))]
    told = [moment.astimezone(timezone(timedelta(hours=zone))) for moment in moments]
    table = pd.DataFrame({name: [row.get(name) for row in rows] for name in ("x", "n", "s", "flag", "b")}, dtype=object)
    guessed = pd.DataFrame({name: [row.get(name) for row in rows] for name in ("x", "n", "s", "flag", "b")})
    for transform in _FITTED:
        found = []
        for attempt in (
            lambda transform=transform: transform.apply_rows(rows, told),
            lambda transform=transform: transform.apply(_timed(table, moments)),
            lambda transform=transform: transform.apply(_timed(guessed, moments)),
        ):
            try:
                found.append(attempt())
            except DataRefused:
                found.append(None)
        assert len({None if one is None else one.tobytes() for one in found}) == 1, (found, rows)


def _timed(rows: pd.DataFrame, times: list[datetime]) -> pd.DataFrame:
    return rows.assign(_time=pd.Series(times).astype("datetime64[us, UTC]"))


@given(st.lists(st.tuples(_NUMBERS, _TEXTS), min_size=2, max_size=8), st.sampled_from(["median", "mean", "none"]))
def test_json_round_trip_keeps_the_transform_to_the_bit(rows: list[tuple[Any, Any]], impute: str) -> None:
    table = frame(x=[1.0, 2.0] + [_plain(x) for x, _ in rows], s=["p", "q"] + [_word(s) for _, s in rows])
    transform = fitted(table, numeric={"impute": impute, "scale": "standard"}, timeParts=["hour"])
    again = Transform.from_json(transform.to_json())
    assert again == transform
    assert again.names == transform.names
    same(again.apply(table), transform.apply(table))


def _plain(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def _word(value: Any) -> str | None:
    return None if value is None else str(value)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2, "numbers": [], "categories": []}', "\x00", "NaN"])
def test_what_trimtab_did_not_write_is_refused(text: str) -> None:
    with pytest.raises(DataRefused, match="not a transform that trimtab wrote"):
        Transform.from_json(text)


def test_a_missing_number_is_filled_and_scaled_with_what_training_showed() -> None:
    table = frame(x=[1.0, None, 3.0, 8.0], s=["a", "b", "a", "b"])
    assert column(fitted(table), table, "x") == [1, 3, 3, 8]
    assert column(fitted(table, numeric={"impute": "mean"}), table, "x") == [1, 4, 3, 8]
    assert column(fitted(table, numeric={"impute": "zero"}), table, "x") == [1, 0, 3, 8]
    assert math.isnan(column(fitted(table, numeric={"impute": "none"}), table, "x")[1])
    known = np.array([1.0, 3.0, 8.0])
    scaled = column(fitted(table, numeric={"impute": "mean", "scale": "standard"}), table, "x")
    assert scaled == pytest.approx(((np.array([1, 4, 3, 8]) - known.mean()) / known.std()).tolist())


def test_categories_unseen_rare_and_missing_each_have_their_place() -> None:
    table = frame(s=["a", "a", "a", "b", "b", "c", None], x=[1, 2, 3, 4, 5, 6, 7])
    transform = fitted(table, categorical={"maxCategories": 2})
    assert transform.names == ("x", "s=a", "s=b", "s (other)", "s (missing)")
    rows = [{"x": 0, "s": value} for value in ("a", "b", "c", "never", None)]
    assert transform.apply_rows(rows, [_START] * 5)[:, 1:].tolist() == np.eye(5, 4)[[0, 1, 2, 2, 3]].tolist()
    plain = fitted(frame(s=["a", "b"], x=[1, 2]))
    assert plain.apply_rows([{"x": 0, "s": "never"}, {"x": 0}], [_START] * 2)[:, 1:].tolist() == [[0, 0], [0, 0]]
    ordinal = fitted(frame(s=["a", "b", "b"], x=[1, 2, 3]), categorical={"encode": "ordinal"})
    rows = [{"x": 0, "s": value} for value in ("b", "a", "never")]
    assert ordinal.apply_rows(rows, [_START] * 3)[:, 1].tolist() == [0, 1, -1]


def test_dates_are_categories_and_time_parts_are_of_utc() -> None:
    table = frame(d=["2020-01-01", "2020-01-02"], x=[1, 2])
    transform = fitted(table, timeParts=_PARTS)
    assert transform.names[1:3] == ("d=2020-01-01", "d=2020-01-02")
    east = datetime(2020, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    for moment in (_START, east, _START.replace(tzinfo=None)):
        assert transform.apply_rows([{}], [moment])[0, -4:].tolist() == [2, 60, 5, 23]
    assert transform.apply(table)[0, -4:].tolist() == [2, 60, 5, 23]


def test_columns_constant_or_empty_in_the_training_rows_are_left_out_even_if_others_vary() -> None:
    rows = frame(
        x=[1.0, 1.0, 1.0, 7.0],
        gone=[None, None, None, 3.0],
        s=["a", "a", "a", "b"],
        t=[None, None, None, "k"],
        z=[1, 2, 3, 4],
    )  # the last row is held out: what it shows must not be learnt
    transform = fit(Features(), contract(rows), rows[:3])
    assert transform.names == ("z",)
    same(transform.apply(rows), np.array([[1.0], [2.0], [3.0], [4.0]]))


def test_nothing_is_fitted_from_the_hold_out(rodents: tuple[pd.DataFrame, Data]) -> None:
    rows, section = rodents
    known, held = splitting.split(rows[:2000], splitting.Split(), section, 7)
    rules = validate.infer(rows[:2000], section, "classification")
    features = Features.model_validate(
        {"numeric": {"scale": "standard"}, "crosses": [{"columns": ["sex", "plot_type"]}]}
    )
    damaged = held.assign(weight=-1e9, hindfoot_length=np.nan, sex="X", plot_type="Moon")
    before = fit(features, rules, known)
    both = pd.concat([known, damaged], ignore_index=True)
    assert fit(features, rules, both[: len(known)]) == before
    assert fit(features, rules, both) != before
    assert fit(features, rules, known.sample(frac=1, random_state=3)).categories == before.categories


def test_crosses_are_of_text_or_boolean_and_a_constant_part_does_not_stop_training() -> None:
    table = frame(x=[1, 2, 3], s=["a", "b", "a"], b=[True, False, False], c=["k", "k", "k"])
    transform = fitted(table, crosses=[{"columns": ["s", "b"]}, {"columns": ["s", "c"]}])
    assert [one.name for one in transform.categories] == ["s", "b", "s x b"]
    assert column(transform, table, "s x b=a x true") == [1, 0, 0]
    with pytest.raises(DataRefused, match=r"features.crosses: x is no text or boolean feature; those are: s, b, c"):
        fitted(table, crosses=[{"columns": ["s", "x"]}])


def test_nothing_to_learn_from_is_refused() -> None:
    table = frame(x=[1, 1, 1], s=["a", "a", "a"])
    with pytest.raises(DataRefused, match="no column is left to learn from"):
        fitted(table)
    assert fitted(table, timeParts=["hour"]).names == ("time.hour",)


def test_numbers_as_large_as_allowed_are_scaled_to_finite_values() -> None:
    table = frame(x=[1e299, -1e299, 3e299, 0.0])
    assert np.isfinite(fitted(table, numeric={"scale": "standard"}).apply(table)).all()


def test_infinity_is_missing_and_text_where_numbers_were_is_refused_by_name() -> None:
    transform = fitted(frame(x=[1.0, 2.0, 6.0]))
    assert transform.apply_rows([{"x": math.inf}, {"x": "4"}, {}], [_START] * 3)[:, 0].tolist() == [2, 4, 2]
    with pytest.raises(DataRefused, match="column 'x' holds 'heavy', which is no number"):
        transform.apply(pd.DataFrame({"x": [1.0, "heavy"]}))
    assert transform.apply(pd.DataFrame({"other": [1, 2]}))[:, 0].tolist() == [2, 2]


def test_no_rows_make_an_empty_matrix() -> None:
    transform = fitted(_TRAINED, timeParts=_PARTS)
    width = len(transform.names)
    assert transform.apply(_TRAINED[:0]).shape == transform.apply_rows([], []).shape == (0, width)


def test_codes_that_a_frame_holds_as_floats_beside_missing_ones_are_the_same_categories() -> None:
    table = frame(code=["3", "3", "4", None])
    transform = fitted(table)
    rows = [{"code": 3}, {"code": None}, {"code": 4}, {"code": True}, {"code": 3.5}]
    as_floats = pd.DataFrame({"code": [3.0, np.nan, 4.0]})
    assert transform.apply(as_floats).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    same(transform.apply(as_floats), transform.apply_rows(rows[:3], [_START] * 3))
    assert transform.apply_rows(rows[3:], [_START] * 2).tolist() == [[0, 0, 0], [0, 0, 0]]
