"""Ingest: what is read is what was written, whatever the file's form."""

from __future__ import annotations

import gzip
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tabular import RODENTS, data, read_text

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.stages import ingest


def test_the_real_captures_are_read_whole_and_typed() -> None:
    section = Data.model_validate(
        {
            "source": {"path": "captures.csv.gz"},
            "id": "record_id",
            "time": {"year": "year", "month": "month", "day": "day"},
            "label": {"column": "genus", "delay": "30d"},
        }
    )
    frame = ingest.read_all(section, RODENTS)
    assert len(frame) == 30_448
    assert frame["_id"].is_unique
    assert frame["_time"].is_monotonic_increasing
    assert str(frame["_time"].dtype) == "datetime64[us, UTC]"
    assert {name: frame[name].dtype.kind for name in ("weight", "plot_id", "genus", "record_id")} == {
        "weight": "f",
        "plot_id": "i",
        "genus": "O",
        "record_id": "O",
    }
    assert frame["sex"].isna().sum() == 58
    raw = pd.read_csv(RODENTS / "captures.csv.gz", keep_default_na=False)
    assert frame["weight"].sum() == raw["weight"].astype(float).sum()


def test_types_follow_what_is_written_exactly(tmp_path: Path) -> None:
    text = "t,y,code,whole,real,flag,big,word\n"
    text += "2024-01-01,a,007,1,1.10,true,12345678901234567890,x\n"
    text += "2024-01-02,b,120,-2,0,false,5,NULL\n"
    frame = read_text(tmp_path, text)
    assert frame["code"].tolist() == ["007", "120"]
    assert frame["whole"].tolist() == [1, -2]
    assert frame["whole"].dtype == np.int64
    assert frame["real"].tolist() == [1.1, 0.0]
    assert frame["flag"].tolist() == [True, False]
    assert frame["big"].tolist() == ["12345678901234567890", "5"]
    assert frame["word"].tolist() == ["x", "NULL"]
    assert frame["_id"].tolist() == ["row-0", "row-1"]


def test_zero_and_zero_point_zero_are_different_marks(tmp_path: Path) -> None:
    text = "t,y,x\n2024-01-01,a,0\n2024-01-02,b,0.0\n2024-01-03,a,2.5\n"
    frame = read_text(tmp_path, text, source={"missing": ["0"]})
    assert frame["x"].isna().tolist() == [True, False, False]
    kept = read_text(tmp_path, text)
    assert kept["x"].tolist() == [0.0, 0.0, 2.5]
    assert kept.attrs["zeros_written"] == {"x": {"0": 1, "0.0": 1}}
    as_text = read_text(tmp_path, text, contract={"x": {"type": "string"}})
    assert as_text["x"].tolist() == ["0", "0.0", "2.5"]


def test_namibia_stays_a_country_when_missing_says_so(tmp_path: Path) -> None:
    text = 't,y,country\n2024-01-01,a,NA\n2024-01-02,b,"NA"\n2024-01-03,b,\n'
    assert read_text(tmp_path, text)["country"].isna().all()
    kept = read_text(tmp_path, text, source={"missing": [""]})
    assert kept["country"].tolist() == ["NA", "NA", None]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("t,y,x\n2024-01-01,a,é\n2024-01-02,b,z\n".encode("utf-8-sig"), "utf-8"),
        ("t,y,x\r\n2024-01-01,a,é\r\n2024-01-02,b,z\r\n".encode(), "utf-8"),
        ("t,y,x\r2024-01-01,a,é\r2024-01-02,b,z".encode(), "utf-8"),
        ("t,y,x\n2024-01-01,a,é\n2024-01-02,b,z\n".encode("cp1252"), "cp1252"),
        ("t,y,x\n2024-01-01,a,é\n2024-01-02,b,z\n".encode("utf-16"), "utf-16"),
        (gzip.compress("t,y,x\n\n2024-01-01,a,é\n2024-01-02,b,z\n\n".encode()), "utf-8"),
    ],
    ids=["bom", "crlf", "cr", "cp1252", "utf-16", "gzip and blank lines"],
)
def test_forms_of_text_give_the_same_rows(tmp_path: Path, content: bytes, encoding: str) -> None:
    frame = read_text(tmp_path, content, source={"encoding": encoding})
    assert list(frame.columns) == ["t", "y", "x", "_id", "_time"]
    assert frame["x"].tolist() == ["é", "z"]


def test_quoted_delimiters_newlines_and_quotes_are_kept(tmp_path: Path) -> None:
    frame = read_text(tmp_path, 't,y,x\n2024-01-01,a,"1,5\n""tall"""\n2024-01-02,b,"z"\n')
    assert frame["x"].tolist() == ['1,5\n"tall"', "z"]


def test_a_semicolon_is_a_delimiter_when_said(tmp_path: Path) -> None:
    frame = read_text(tmp_path, "t;y;x\n2024-01-01;a;1\n2024-01-02;b;2\n", source={"delimiter": ";"})
    assert frame["x"].tolist() == [1, 2]


def test_globs_join_files_with_the_same_header(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("y,t,x\nb,2024-01-02,2\n")
    (tmp_path / "a.csv").write_text("t,y,x\n2024-01-01,a,1\n")
    frame = ingest.read(data(source={"path": "*.csv"}), tmp_path, as_of=None)
    assert frame[["x", "y", "_id"]].to_numpy().tolist() == [[1, "a", "row-0"], [2, "b", "row-1"]]


def test_parquet_gives_what_the_csv_gives(tmp_path: Path) -> None:
    text = "t,y,whole,real,flag,word\n2024-01-01,a,1,1.5,true,x\n2024-01-02,b,2,,false,\n"
    expected = read_text(tmp_path, text)
    typed = pd.DataFrame(
        {
            "t": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "y": ["a", "b"],
            "whole": [1, 2],
            "real": [1.5, None],
            "flag": [True, False],
            "word": ["x", None],
        }
    )
    typed.to_parquet(tmp_path / "rows.parquet")
    frame = ingest.read(data(source={"path": "rows.parquet"}), tmp_path, as_of=None)
    pd.testing.assert_frame_equal(frame.drop(columns="t"), expected.drop(columns="t"))


@pytest.mark.parametrize("suffix", ["", " where x > 0"])
def test_duckdb_reads_files_beside_the_document(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "rows.csv").write_text("t,y,x\n2024-01-02,b,2\n2024-01-01,a,1\n")
    section = data(source={"query": f"select * from 'deep/rows.csv'{suffix}"})
    frame = ingest.read(section, tmp_path, as_of=None)
    assert frame["x"].tolist() == [1, 2]
    assert frame["_id"].tolist() == ["row-0", "row-1"]


def test_a_query_numbers_its_rows_the_same_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("t,y,x\n" + "".join(f"2024-01-0{1 + i % 3},a,{i}\n" for i in range(9)))
    frames = [
        ingest.read(data(source={"query": f"select * from 'rows.csv' order by x {way}"}), tmp_path, as_of=None)
        for way in ("asc", "desc")
    ]
    names = [dict(zip(frame["x"], frame["_id"], strict=True)) for frame in frames]
    assert names[0] == names[1]


def test_sql_through_sqlalchemy_with_a_relative_file_and_a_secret_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("create table rows (t text, y text, x real)")
    connection.executemany("insert into rows values (?,?,?)", [("2024-01-01", "a:b", 1), ("2024-01-02", "c", None)])
    connection.commit()
    connection.close()
    query = "select *, 'p:q' as z from rows"
    frame = ingest.read(data(source={"query": query, "url": "sqlite:///store.db"}), tmp_path, as_of=None)
    assert frame["x"].isna().tolist() == [False, True]
    assert frame["z"].tolist() == ["p:q", "p:q"]
    monkeypatch.setenv("STORE_URL", "sqlite:///store.db")
    again = ingest.read(data(source={"query": query, "url_env": "STORE_URL"}), tmp_path, as_of=None)
    pd.testing.assert_frame_equal(frame, again)


@pytest.mark.parametrize(
    ("time", "header", "cell", "expected"),
    [
        ({"column": "t"}, "t", "2024-03-01T12:00:00+02:00", "2024-03-01T10:00:00"),
        ({"column": "t"}, "t", "2024-03-01 12:00", "2024-03-01T12:00:00"),
        ({"column": "t", "format": "%d.%m.%Y"}, "t", "01.03.2024", "2024-03-01T00:00:00"),
        ({"column": "t", "format": "unix"}, "t", "1709294400", "2024-03-01T12:00:00"),
        ({"column": "t", "format": "unix"}, "t", "1709294400.25", "2024-03-01T12:00:00.25"),
        ({"column": "t", "format": "unix_ms"}, "t", "1709294400250", "2024-03-01T12:00:00.25"),
        ({"year": "t"}, "t", "2024", "2024-01-01T00:00:00"),
        ({"year": "t", "month": "m", "day": "d"}, "t,m,d", "2024,2,29", "2024-02-29T00:00:00"),
    ],
)
def test_event_times(tmp_path: Path, time: dict[str, str], header: str, cell: str, expected: str) -> None:
    frame = read_text(tmp_path, f"{header},y\n{cell},a\n{cell},b\n", time=time)
    assert frame["_time"].tolist() == [pd.Timestamp(expected, tz="UTC")] * 2


@pytest.mark.parametrize("cell", ["noon", "1709294400250", "inf"])
def test_what_is_no_number_of_seconds_is_refused_with_its_line(tmp_path: Path, cell: str) -> None:
    text = f"t,y\n1709294400,a\n{cell},b\n"
    with pytest.raises(DataRefused, match=rf"line 3.*'{cell}', which is no number of seconds since 1970"):
        read_text(tmp_path, text, time={"column": "t", "format": "unix"})


def test_labels_stay_whole_beside_missing_ones_and_training_leaves_those_out(tmp_path: Path) -> None:
    text = "t,y,x\n2024-01-01,1,1\n2024-01-02,,2\n2024-01-03,0,3\n"
    frame = read_text(tmp_path, text)
    assert [str(label) for label in frame["y"]] == ["1", "0"]
    assert frame.attrs["unlabelled"] == 1
    assert len(ingest.read_all(data(), tmp_path)) == 3


def served(ids: list[str], **columns: list[Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"_id": ids, **columns})
    frame["_time"] = pd.to_datetime(["2024-01-05"] * len(ids), utc=True)
    return frame


def test_served_rows_with_labels_join_without_doubles(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,t,y,x,w\n1,2024-01-01,0,1,a\n2,2024-01-09,1,2,b\n")
    section = data(id="id", label={"column": "y", "delay": "1d"})
    feedback = served(["1", "2", "9", "9"], x=[7, 7, 7, 8.5], y=["1", "1", "0", "1"])
    frame = ingest.read(section, tmp_path, as_of=datetime(2024, 1, 7, tzinfo=UTC), feedback=feedback)
    assert frame["_id"].tolist() == ["1", "9"]  # 2 is in the source, though not yet visible
    assert frame["x"].tolist() == [1.0, 8.5]
    assert frame["y"].tolist() == [0, 1]
    assert frame["w"].tolist() == ["a", None]
    assert frame.attrs["feedback_rows"] == 1


def test_feedback_with_a_new_class_turns_whole_labels_into_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("t,y,x\n2024-01-01,0,1\n2024-01-02,1,2\n")
    frame = ingest.read(data(), tmp_path, as_of=None, feedback=served(["q"], x=[3], y=["other"]))
    assert frame["y"].tolist() == ["0", "1", "other"]


def test_a_label_that_arrived_after_as_of_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("t,y,x\n2024-01-01,a,1\n2024-01-02,b,2\n")
    feedback = served(["p", "q"], x=[3, 4], y=["a", "b"])
    feedback["_label_time"] = pd.to_datetime(["2024-01-06", "2024-01-08"], utc=True)
    frame = ingest.read(data(), tmp_path, as_of=datetime(2024, 1, 7, tzinfo=UTC), feedback=feedback)
    assert frame["_id"].tolist() == ["row-0", "row-1", "p"]


def test_feedback_of_the_wrong_type_is_refused_by_id(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("t,y,x\n2024-01-01,a,1\n2024-01-02,b,2\n")
    with pytest.raises(DataRefused, match=r"feedback row 'q'.*'x' holds 'heavy'"):
        ingest.read(data(), tmp_path, as_of=None, feedback=served(["q"], x=["heavy"], y=["a"]))


def test_served_rows_alone_can_be_read_before_the_source_has_any(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("t,y,x,w\n2024-02-01,a,1,p\n")
    feedback = served(["q", "r"], x=[3, 4.5], w=["p", None], y=["a", "b"])
    frame = ingest.read(data(), tmp_path, as_of=datetime(2024, 1, 7, tzinfo=UTC), feedback=feedback)
    assert frame["x"].tolist() == [3.0, 4.5]
    assert frame["x"].dtype == np.float64
    assert frame["w"].tolist() == ["p", None]
    assert str(frame["_time"].dtype) == "datetime64[us, UTC]"


def test_decimal_commas_are_numbers_and_points_are_refused_there(tmp_path: Path) -> None:
    source = {"source": {"delimiter": ";", "decimal": ","}}
    frame = read_text(tmp_path, "t;y;x;z\n2024-01-01;a;1,5;0\n2024-01-02;b;-2;0,0\n", **source)
    assert frame["x"].tolist() == [1.5, -2.0]
    assert frame.attrs["zeros_written"] == {"z": {"0": 1, "0,0": 1}}
    with pytest.raises(DataRefused, match=r"'1\.5'.*with a point, where a comma is read.*decimal: '\.'"):
        read_text(tmp_path, "t;y;x\n2024-01-01;a;1.5\n2024-01-02;b;2\n", **source)
    with pytest.raises(DataRefused, match=r"'1,5'.*with a comma, where a point is read.*decimal: ','"):
        read_text(tmp_path, "t;y;x\n2024-01-01;a;1,5\n2024-01-02;b;2\n", source={"delimiter": ";"})
