"""Validate: what a person stated is enforced, what was inferred is told, and the list can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tabular import RODENTS, data, read_text

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.stages import ingest
from trimtab.stages.skew import jensen_shannon, l_infinity
from trimtab.stages.validate import Anomaly, Contract, check, infer, skew

CAPTURES = Data.model_validate(
    {
        "source": {"path": "captures.csv.gz"},
        "id": "record_id",
        "time": {"year": "year", "month": "month", "day": "day"},
        "label": {"column": "genus", "delay": "30d"},
        "ignore": ["species_id", "species", "taxa", "sexM", "plot_id"],
        "contract": {
            "weight": {"type": "number", "unit": "g", "min": 1, "max": 1000, "max_missing_share": 0},
            "sex": {"domain": ["F", "M"]},
        },
    }
)


@pytest.fixture(scope="module")
def captures() -> pd.DataFrame:
    return ingest.read_all(CAPTURES, RODENTS)


@pytest.fixture(scope="module")
def early(captures: pd.DataFrame) -> pd.DataFrame:
    return captures[captures["_time"] < datetime(1985, 1, 1, tzinfo=UTC)].reset_index(drop=True)


@pytest.fixture(scope="module")
def contract(early: pd.DataFrame) -> Contract:
    return infer(early, CAPTURES, "classification")


def rules(anomalies: tuple[Anomaly, ...]) -> set[tuple[str, str, str]]:
    return {(anomaly.column, anomaly.rule, anomaly.severity) for anomaly in anomalies}


def frame(rows: int = 200, **columns: Any) -> pd.DataFrame:
    """A frame as ingest gives it: label y with two classes, and the columns asked for."""
    table = pd.DataFrame({"y": ["a", "b"] * (rows // 2), **columns})
    table["_id"] = [f"row-{i}" for i in range(rows)]
    table["_time"] = pd.Timestamp("2024-01-01", tz="UTC")
    return table


def fitted(table: pd.DataFrame, **statements: dict[str, Any]) -> Contract:
    section = data(contract=statements, time={"year": "never"}).model_copy()
    return infer(table, section, "classification")


def test_the_contract_of_the_captures(contract: Contract) -> None:
    assert [rule.name for rule in contract.features] == ["sex", "hindfoot_length", "weight", "plot_type"]
    weight, sex, genus = contract.by_name["weight"], contract.by_name["sex"], contract.label
    assert (weight.minimum, weight.maximum, weight.unit, weight.required) == (1, 1000, "g", True)
    assert (sex.type, sex.domain, sex.required) == ("string", ("F", "M"), False)
    assert 0 < sex.missing_share < 0.01
    assert genus.domain is not None
    assert len(genus.domain) == 8
    assert contract.by_name["taxa"].constant
    assert {rule.role for rule in contract.columns} == {"id", "time", "ignored", "feature", "label"}


def test_reference_rows_keep_their_own_contract(early: pd.DataFrame, contract: Contract) -> None:
    assert check(early, contract) == ()


def test_grams_that_became_kilograms_are_told(early: pd.DataFrame, contract: Contract) -> None:
    found = check(early.assign(weight=early["weight"] / 1000), contract)
    assert ("weight", "unit", "error") in rules(found)
    sentence = next(anomaly.sentence for anomaly in found if anomaly.rule == "unit")
    assert "about 1000 times smaller" in sentence
    assert "g -> kg" in sentence
    assert "0.043, it was 43 g" in sentence


@pytest.mark.parametrize(
    ("factor", "offset", "told"),
    [(25.4, 0, "about 25.4 times larger"), (1 / 453.592, 0, "g -> lb"), (1.8, 32, "Fahrenheit")],
)
def test_other_units_are_told(factor: float, offset: float, told: str) -> None:
    values = np.random.default_rng(1).normal(20, 4, 200)
    found = check(frame(x=values * factor + offset), fitted(frame(x=values)))
    assert any(told in anomaly.sentence for anomaly in found if anomaly.rule == "unit")


@pytest.mark.parametrize(("length", "windows"), [("%Y", 26), ("%Y-%m", 250)])
def test_a_real_change_of_animals_is_no_change_of_unit(
    captures: pd.DataFrame, contract: Contract, length: str, windows: int
) -> None:
    parts = [part.reset_index(drop=True) for _, part in captures.groupby(captures["_time"].dt.strftime(length))]
    assert len(parts) >= windows
    told = [part["_time"].min() for part in parts if any(found.rule == "unit" for found in check(part, contract))]
    assert told == []


def test_grams_that_became_kilograms_are_told_in_any_year(captures: pd.DataFrame, contract: Contract) -> None:
    wrong = captures.assign(weight=captures["weight"] / 1000)
    for year, part in wrong.groupby(wrong["_time"].dt.year):
        found = [anomaly for anomaly in check(part.reset_index(drop=True), contract) if anomaly.rule == "unit"]
        assert [anomaly.severity for anomaly in found] == ["error"], year
        assert "g -> kg" in found[0].sentence, year


def test_broken_statements_are_errors_and_name_rows(early: pd.DataFrame, contract: Contract) -> None:
    broken = early.copy()
    broken.loc[[3, 5], "weight"] = [-1.0, 5000.0]
    broken.loc[7, "weight"] = np.nan
    broken.loc[9, "sex"] = "X"
    broken.loc[11, "hindfoot_length"] = np.inf
    found = check(broken, contract)
    assert rules(found) >= {
        ("weight", "range", "error"),
        ("weight", "missing", "error"),
        ("sex", "domain", "error"),
        ("hindfoot_length", "finite", "error"),
    }
    sex = next(anomaly for anomaly in found if anomaly.column == "sex")
    assert (sex.count, sex.rows, sex.values) == (1, (str(early["_id"][9]),), ("X",))
    assert json.loads(json.dumps([anomaly.to_json() for anomaly in found]))
    assert [anomaly.severity for anomaly in found] == sorted(anomaly.severity for anomaly in found)


def test_a_new_mouse_is_a_warning(captures: pd.DataFrame, early: pd.DataFrame) -> None:
    section = CAPTURES.model_copy(update={"label": CAPTURES.label.model_copy(update={"column": "species_id"})})
    section = section.model_copy(update={"ignore": ("genus", "species", "taxa", "sexM", "plot_id")})
    later = captures[captures["_time"].dt.year == 2002].reset_index(drop=True)
    found = check(later, infer(early, section, "classification"))
    news = next(anomaly for anomaly in found if (anomaly.column, anomaly.rule) == ("species_id", "domain"))
    assert news.severity == "warning"
    assert "'PB'" in news.sentence
    assert 0.40 < news.share < 0.45


def test_columns_that_go_come_or_change_their_type() -> None:
    contract = fitted(frame(weight=range(200), word=["p", "q"] * 100))
    changed = frame(wieght=range(200), word=range(200))
    found = check(changed, contract)
    assert rules(found) == {("weight", "column", "error"), ("wieght", "column", "warning"), ("word", "type", "error")}
    assert "nearest is 'wieght'" in found[0].sentence


def test_missing_marks_are_seen() -> None:
    numbers = [float(x % 50 + 10) for x in range(200)]
    words = ["oak", "elm"] * 100
    contract = fitted(frame(x=numbers, w=words, z=numbers))
    marked = frame(x=[-999.0] * 10 + numbers[10:], w=["N/A", " "] * 5 + words[10:], z=[0.0] * 4 + numbers[4:])
    marked.attrs["zeros_written"] = {"z": {"0": 3, "0.0": 1}}
    found = [anomaly for anomaly in check(marked, contract) if anomaly.rule == "missing_mark"]
    assert {(anomaly.column, anomaly.count) for anomaly in found} == {("x", 10), ("w", 10), ("z", 4)}
    zeros = next(anomaly for anomaly in found if anomaly.column == "z")
    assert "'0' 3 times, '0.0' 1 times" in zeros.sentence


def test_a_stated_domain_makes_a_mark_a_value() -> None:
    countries = frame(c=["NA", "DE"] * 100)
    assert ("c", "missing_mark", "warning") in rules(check(countries, fitted(countries)))
    assert check(countries, fitted(countries, c={"domain": ["NA", "DE"]})) == ()


def test_spelling_of_a_category_is_told() -> None:
    contract = fitted(frame(w=["Control", "Fenced"] * 100))
    found = check(frame(w=["control ", "Fenced"] * 100), contract)
    assert "differs from 'Control' only in case or spaces" in found[0].sentence


def test_one_class_and_doubled_ids_are_errors() -> None:
    table = frame(x=range(200))
    broken = table.assign(y="a")
    broken.loc[1, "_id"] = "row-0"
    assert rules(check(broken, fitted(table))) >= {("y", "classes", "error"), ("_id", "duplicate", "error")}


def test_more_missing_than_before_is_a_warning() -> None:
    contract = fitted(frame(x=[float(i) for i in range(200)]))
    assert check(frame(x=[None] + [float(i) for i in range(199)]), contract) == ()
    assert rules(check(frame(x=[np.nan] * 40 + [float(i) for i in range(160)]), contract)) == {
        ("x", "missing", "warning")
    }


@pytest.mark.parametrize(
    ("table", "problem", "statements", "message"),
    [
        (frame(x=range(200)).assign(y="a"), "classification", {}, "one class only, 'a', in all 200 rows"),
        (frame(x=range(200)), "regression", {}, "a regression predicts a number"),
        (frame(x=range(200)).assign(y=1.0), "regression", {}, "always 1.0"),
        (frame(x=range(200)).iloc[:0], "classification", {}, "no rows to learn from"),
        (frame(x=range(200)).assign(y=None), "classification", {}, "has no value in any row"),
        (frame(), "classification", {}, "no column is left to learn from"),
        (frame(x=range(200)), "classification", {"z": {"type": "string"}}, "data.contract.z: there is no such column"),
        (frame(x=["p"] * 200), "classification", {"x": {"type": "string", "min": 1}}, "min and max are for numbers"),
        (frame(x=range(200)), "classification", {"x": {"min": 1000}}, "no value is above 199. Check the unit"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    table: pd.DataFrame, problem: Any, statements: dict[str, Any], message: str
) -> None:
    section = data(contract=statements, time={"year": "never"})
    with pytest.raises(DataRefused, match=message):
        infer(table, section, problem)


def test_skew_on_real_years(captures: pd.DataFrame, early: pd.DataFrame, contract: Contract) -> None:
    columns = ["sex", "hindfoot_length", "weight", "plot_type"]
    late = captures[captures["_time"].dt.year == 2000][columns]
    assert {("hindfoot_length", "distribution", "warning"), ("weight", "distribution", "warning")} <= rules(
        skew(early, late, contract)
    )
    same = early.sample(frac=0.5, random_state=1)
    rest = early.drop(same.index)
    assert skew(same, rest[columns], contract) == ()


def test_schema_skew_is_found() -> None:
    training = frame(x=[float(i) for i in range(200)], w=["p", "q"] * 100)
    serving = training[["w"]].assign(extra=1)
    found = skew(training, serving, fitted(training))
    assert rules(found) == {("x", "column", "error"), ("extra", "column", "warning")}


def test_distances_match_their_definitions() -> None:
    old, new = np.arange(1000.0), np.arange(1000.0) + 5000
    assert jensen_shannon(old, new)[0] == pytest.approx(1.0)
    assert jensen_shannon(old, old)[0] == 0.0
    difference, _, name, was, now = l_infinity(pd.Series(["a"] * 9 + ["b"]), pd.Series(["a"] * 5 + ["b"] * 5))
    assert (round(difference, 9), name in "ab", round(was + now, 9)) == (0.4, True, 1.4 if name == "a" else 0.6)


def test_chance_alone_rarely_exceeds_the_noise_bound() -> None:
    random = np.random.default_rng(3)
    alarms = 0
    for _ in range(400):
        value, noise = jensen_shannon(random.normal(size=2000), random.normal(size=500))
        alarms += value > noise
    assert alarms <= 4  # 0.4 expected


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["oak", "elm", "é", "N/A", None]), min_size=4, max_size=40),
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=4, max_size=40),
)
def test_any_contract_survives_json_and_accepts_its_own_rows(words: list[str | None], numbers: list[float]) -> None:
    size = min(len(words), len(numbers)) // 2 * 2
    table = frame(size, w=pd.Series(words[:size], dtype=object), x=numbers[:size])
    contract = fitted(table)
    assert Contract.from_json(contract.to_json()) == contract
    for word, number in zip(table["w"], table["x"], strict=True):
        assert contract.refuse_row({"w": word, "x": None if np.isnan(number) else number}) is None
    assert not [anomaly for anomaly in check(table, contract) if anomaly.severity == "error"]


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"surprise": 1},
        {"rows": "10"},
        {"problem": "ranking"},
        {"columns": [{"name": "x", "type": "number"}, {"name": "x", "type": "number"}]},
        {"columns": [{"name": "x", "type": "number", "minimum": 3, "maximum": 1}]},
        {"columns": [{"name": "x", "type": "number", "missing_share": 2}]},
    ],
)
def test_a_damaged_contract_is_refused(contract: Contract, change: dict[str, Any]) -> None:
    document = {**json.loads(contract.to_json()), **change}
    with pytest.raises(DataRefused, match="not a data contract that trimtab wrote"):
        Contract.from_json(json.dumps(document))
    with pytest.raises(DataRefused):
        Contract.from_json(contract.to_json()[:-20])


def test_text_that_names_each_row_anew_is_no_feature_unless_somebody_says_so() -> None:
    frame = pd.DataFrame(
        {
            "note": [f"n{number}" for number in range(40)],
            "weight": [float(number) for number in range(40)],
            "genus": ["a", "b"] * 20,
            "_id": [str(number) for number in range(40)],
            "_time": pd.date_range("2020-01-01", periods=40, tz="UTC"),
        }
    )
    data = Data.model_validate({"source": {"path": "x.csv"}, "time": {"column": "t"}, "label": {"column": "genus"}})
    contract = infer(frame, data, "classification")
    assert [rule.name for rule in contract.features] == ["weight"]
    assert contract.refuse_row({"weight": 1.0}) is None
    assert contract.refuse_row({"weight": 1.0, "note": "anything"}) is None
    told = [anomaly for anomaly in check(frame, contract) if anomaly.column == "note"]
    assert [(one.rule, one.severity) for one in told] == [("identifier", "warning")]
    wanted = infer(frame, data, "classification", include=("note", "weight"))
    assert [rule.name for rule in wanted.features] == ["note", "weight"]
    repeated = infer(frame.assign(note="same"), data, "classification")
    assert [rule.name for rule in repeated.features] == ["note", "weight"]


_CLASSES = "t,y,x\n" + "".join(f"2024-01-{1 + n % 28:02d},{['a', 'b', 'NA', ''][n % 4]},{n}\n" for n in range(40))


def test_rows_without_a_label_are_counted_with_the_mark_that_caused_it(tmp_path: Path) -> None:
    rows = read_text(tmp_path, _CLASSES)
    rows.to_parquet(tmp_path / "rows.parquet")  # as it travels between the steps
    again = pd.read_parquet(tmp_path / "rows.parquet")
    found = next(one for one in check(again, infer(again, data(), "classification")) if one.rule == "unlabelled")
    assert (found.severity, found.count) == ("warning", 20)
    assert "20 rows have no 'y' and are left out (written empty 10 times, 'NA' 10 times)" in found.sentence
    assert "if 'NA' is a class, take it out of `data.source.missing`" in found.sentence


def test_labels_that_are_not_there_yet_are_counted_as_news(tmp_path: Path) -> None:
    rows = read_text(tmp_path, _CLASSES.replace("NA", "a"))
    found = next(one for one in check(rows, infer(rows, data(), "classification")) if one.rule == "unlabelled")
    assert (found.severity, found.count) == ("info", 10)


def test_one_class_only_mentions_the_rows_that_were_dropped(tmp_path: Path) -> None:
    rows = read_text(tmp_path, _CLASSES.replace(",b,", ",NA,"))
    with pytest.raises(DataRefused, match=r"one class only, 'a'.*30 rows have no 'y'.*'NA' 20 times"):
        infer(rows, data(), "classification")
    with pytest.raises(DataRefused, match=r"has no value in any row known \(written empty 10 times, 'NA' 30 times\)"):
        read_text(tmp_path, _CLASSES.replace(",b,", ",NA,").replace(",a,", ",NA,"))


@pytest.mark.parametrize("written", ["{}.5%", "$1,{}", "1 {}", "€{}", "1\u00a0{}", "1.{},50"])
def test_numbers_that_became_categories_are_told(written: str) -> None:
    table = frame(x=[written.format(100 + n % 90) for n in range(200)])
    found = [one for one in check(table, infer(table, data(), "classification")) if one.rule == "number_as_text"]
    assert [one.count for one in found] == [200]
    apart = frame(x=[f"{n}.5%" for n in range(200)], z=["a", "b"] * 100)
    assert ("x", "number_as_text", "warning") in rules(check(apart, infer(apart, data(), "classification")))


@pytest.mark.parametrize("written", ["A{}", "10.0.0.{}", "2024-01-{}", "{}-{}", "00{}", "{} Main St"])
def test_names_with_digits_are_no_numbers(written: str) -> None:
    table = frame(x=[written.format(10 + n % 80, n % 40) for n in range(200)])
    assert "number_as_text" not in {one.rule for one in check(table, infer(table, data(), "classification"))}


def test_a_constant_column_is_told() -> None:
    table = frame(x=["only"] * 200)
    assert ("x", "constant", "info") in rules(check(table, infer(table, data(), "classification")))
