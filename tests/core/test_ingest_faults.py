"""Ingest: every fault of a source is refused with where it is and what to do; nothing is guessed."""

from __future__ import annotations

import gzip
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tabular import data, read_text

from trimtab.errors import DataRefused
from trimtab.stages import ingest
from trimtab.stages.identity import named_columns
from trimtab.testing import bundles

HEADER = "t,y,x\n"
GOOD = "2024-01-01,a,1\n"


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", "file is empty"),
        (b"t,y,x\n", "header but no rows"),
        (b"t,label,x\n2024-01-01,a,1\n", r"no column 'y' \(data.label.column\).*columns are: t, label, x"),
        (b"t,Y ,x\n2024-01-01,a,1\n", "no column 'y'.*nearest is 'Y '"),
        (b"time,y,x\n2024-01-01,a,1\n", r"no column 't' \(data.time.column\)"),
        (b"t;y;x\n2024-01-01;a;1\n", "say `data.source.delimiter`"),
        (b"t,y,x,x\n2024-01-01,a,1,2\n", r"rows.csv line 1: the header names 'x' twice \(columns 3 and 4\)"),
        (b"t,y,\n2024-01-01,a,1\n", "line 1: column 3 has no name"),
        (b"t,y,_time\n2024-01-01,a,1\n", "trimtab adds columns of that name"),
        (b"t,y,x\n2024-01-01,a,1\n\n2024-01-02,b\n", "rows.csv line 4: 2 values, but the header names 3"),
        (b't,y,x\n2024-01-01,a,"p\nq"\n2024-01-02,b,1,5\n', "rows.csv line 4: 4 values"),
        (b't,y,x\n2024-01-01,a,1\n2024-01-02,b,"p\n2024-01-03,a,q\n', "line 3: a quote is opened and never closed"),
        (b't,y,x\n2024-01-01,a,"p', "line 2: a quote is opened and never closed"),
        (b"t,y,x\n2024-01-01,a,1\n2024-01-01,b,\x001\n", "line 3: a NUL byte"),
        (b"t,y,x\n2024-01-01,a,caf\xe9\n", "line 2: byte 0xe9 at offset 22 is not utf-8.*cp1252"),
        (b"\xef\xbb\xbft,y,x\n2024-01-01,a,caf\xe9\n", "line 2: byte 0xe9 at offset 25 is not utf-8"),
        ("t,y,x\n2024-01-01,a,1\n".encode("utf-16"), "data.source.encoding: utf-16"),
        (b"t,y,x\n2024-01-01,a," + b"z" * 140_000 + b"\n", "after line 1: field larger than field limit"),
        (gzip.compress(b"t,y,x\n2024-01-01,a,1\n" * 99, mtime=0)[:-20], "gzip file is broken or cut short"),
        (b"t,y,x\n2024-01-01,a,1\n2024-13-01,b,2\n", "line 3: column 't' holds '2024-13-01', which is no time"),
        (b"t,y,x\n2024-01-01,a,1\n,b,2\n", r"line 3: column 't' is empty.*\(1 rows in all\)"),
        (b"t,y,x\n2024-01-01,a,1\n2199-01-01,b,2\n", "line 3: the event time 2199-01-01.*lies in the future"),
        (b"t,y,x\n2024-01-01,a,1\n2999-01-01,b,2\n", "line 3: .*no time.*years run from 1678 to 2261"),
        (b"t,y,x\n2024-01-01,,1\n2024-01-02,,2\n", "column 'y'.*has no value in any row"),
        (
            b"t,y,x\n2024-01-01,a,1\n2024-01-02,b,2\n2024-01-03,b,heavy\n",
            r"line 4: column 'x' holds 'heavy', which is no number, but 2 values.*contract: \{x: \{type: string\}\}",
        ),
        (
            b't,y,x\n2024-01-01,a,"1,5"\n2024-01-03,b,2\n',
            "line 2: column 'x' holds '1,5', which writes.*comma",
        ),
        (b't,y,x\n2024-01-01,a,"1.000,5"\n', r"'1.000,5'.*comma.*contract: \{x: \{type: string\}\}"),
        (b"t;y;x\n2024-01-01;a;1,5\n", r'header is one column, \'t;y;x\'.*data.source.delimiter: ";"'),
        (b"t,y,x\n2024-01-01,a,1\n2024-01-03,b,1e999\n", "line 3: column 'x' holds '1e999'.*too large"),
    ],
)
def test_faulty_text_is_refused_with_its_place(tmp_path: Path, content: bytes, pattern: str) -> None:
    with pytest.raises(DataRefused, match=pattern):
        read_text(tmp_path, content)


@pytest.mark.parametrize(
    ("changes", "text", "pattern"),
    [
        ({"source": {"encoding": "klingon"}}, HEADER + GOOD, "'klingon' is no text encoding"),
        ({"source": {"encoding": "rot13"}}, HEADER + GOOD, "encoding"),
        ({"id": "x"}, HEADER + GOOD + GOOD, "line 3: column 'x' .data.id. repeats '1' of rows.csv line 2"),
        ({"id": "x"}, HEADER + "2024-01-01,a,\n" + GOOD, "line 2: column 'x' .data.id. is empty"),
        ({"ignore": ["weigth"]}, "t,y,weight\n" + GOOD, r"'weigth' \(data.ignore\[0\]\); nearest is 'weight'"),
        ({"contract": {"xx": {}}}, HEADER + GOOD, "data.contract.xx"),
        ({"contract": {"x": {"type": "integer"}}}, HEADER + "2024-01-01,a,1.5\n", "'1.5', which is not a whole number"),
        ({"contract": {"x": {"min": 0}}}, HEADER + "2024-01-01,a,p\n2024-01-01,a,q\n", "'p', which is not a number"),
        ({"contract": {"x": {"type": "boolean"}}}, HEADER + "2024-01-01,a,yes\n", "'yes', which is neither true nor"),
        (
            {"time": {"column": "t", "format": "%d.%m.%Y"}},
            HEADER + GOOD,
            "'2024-01-01', which is no time by the format '%d.%m.%Y'",
        ),
        (
            {"time": {"year": "a", "month": "b", "day": "c"}},
            "a,b,c,y\n2023,2,28,p\n2023,2,29,q\n",
            "line 3: there is no 2023-02-29",
        ),
        (
            {"time": {"year": "a", "month": "b"}},
            "a,b,y\n2023,13,p\n",
            "'b' holds '13'; expected a whole number from 1 to 12",
        ),
        ({"time": {}}, HEADER + GOOD, "data.time: say `column`, or `year`"),
    ],
)
def test_faulty_documents_are_refused(tmp_path: Path, changes: dict[str, Any], text: str, pattern: str) -> None:
    with pytest.raises(DataRefused, match=pattern):
        read_text(tmp_path, text, **changes)


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "rows_2024.csv").write_text(HEADER + GOOD)
    with pytest.raises(DataRefused, match=r"no file 'row_2024.csv'.*nearest: 'rows_2024.csv'"):
        ingest.read(data(source={"path": "row_2024.csv"}), tmp_path, as_of=None)
    with pytest.raises(DataRefused, match="is a folder"):
        ingest.read(data(source={"path": "."}), tmp_path, as_of=None)


def test_files_of_one_glob_need_one_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + GOOD)
    (tmp_path / "b.csv").write_text("t,y,z\n" + GOOD)
    with pytest.raises(
        DataRefused, match=r"b.csv: its columns differ from those of a.csv: missing \['x'\], new \['z'\]"
    ):
        ingest.read(data(source={"path": "*.csv"}), tmp_path, as_of=None)


def test_a_fault_in_the_second_file_is_named_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + GOOD * 3)
    (tmp_path / "b.csv").write_text(HEADER + GOOD + "2024-01-01,a,oops\n")
    with pytest.raises(DataRefused, match=r"b.csv line 3: column 'x' holds 'oops'"):
        ingest.read(data(source={"path": "*.csv"}), tmp_path, as_of=None)


def test_no_row_known_yet_says_when(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(HEADER + GOOD)
    section = data(label={"column": "y", "delay": "30d"})
    with pytest.raises(DataRefused, match=r"event times run from 2024-01-01.*labels come 30 days"):
        ingest.read(section, tmp_path, as_of=datetime(2024, 1, 30, tzinfo=UTC))
    assert len(ingest.read(section, tmp_path, as_of=datetime(2024, 1, 31, tzinfo=UTC))) == 1


def test_parquet_that_is_not_or_holds_lists(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nonsense")
    section = data(source={"path": "rows.parquet"})
    with pytest.raises(DataRefused, match="no readable Parquet file"):
        ingest.read(section, tmp_path, as_of=None)
    frame = pd.DataFrame({"t": ["2024-01-01"], "y": ["a"], "x": [[1, 2]]})
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataRefused, match="column 'x' has type list"):
        ingest.read(section, tmp_path, as_of=None)
    kept = ingest.read(data(source={"path": "rows.parquet"}, ignore=["x"]), tmp_path, as_of=None)
    assert "x" not in kept
    frame.iloc[:0].to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataRefused, match="holds no rows"):
        ingest.read(section, tmp_path, as_of=None)


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ({"query": "select 1", "url": "postgresql://me:s3cret@127.0.0.1/x"}, "a password has no place"),
        ({"query": "select 1", "url": "postgresql://127.0.0.1/x?password=s3cret"}, "a password has no place"),
        ({"query": "select 1", "url": "not a url"}, "no database URL"),
        ({"query": "select 1", "url": "nosuch://x"}, "knows no database 'nosuch'"),
        ({"query": "select 1", "url_env": "STORE_UNSET"}, "STORE_UNSET is not set"),
        ({"query": "select 1", "url": "sqlite:///none.db"}, "no SQLite database 'none.db'"),
        ({"query": "select 1", "url": "duckdb:///none.db"}, "no DuckDB database 'none.db'"),
        ({"query": "selct 1"}, "DuckDB says: Parser Error"),
        ({"query": "select 1 as a, 2 as a"}, "two columns have the same name|no column"),
        ({"query": "select '2024-01-01' as t, 'a' as y where false"}, "holds no rows"),
        ({}, "exactly one of `path` and `query`"),
    ],
)
def test_faulty_queries_are_refused_without_secrets(tmp_path: Path, source: dict[str, str], pattern: str) -> None:
    section = data(source={"path": None, **source})
    with pytest.raises(DataRefused, match=pattern) as refused:
        ingest.read(section, tmp_path, as_of=None)
    assert "s3cret" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_driver_that_repeats_the_secret_is_silenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", "postgresql+pg8000://me:s3cret@127.0.0.1:1/x")
    with pytest.raises(DataRefused) as refused:
        ingest.read(data(source={"query": "select 1", "url_env": "STORE_URL"}), tmp_path, as_of=None)
    assert "s3cret" not in str(refused.value)


def test_mixed_types_in_a_database_column(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "store.db")
    connection.execute("create table rows (t, y, x)")
    connection.executemany("insert into rows values (?,?,?)", [("2024-01-01", "a", 1), ("2024-01-02", "b", "two")])
    connection.commit()
    connection.close()
    section = data(source={"query": "select * from rows", "url": "sqlite:///store.db"})
    with pytest.raises(DataRefused, match=r"column 'x': row 1 of the query is number \(1\), row 2 is str \('two'\)"):
        ingest.read(section, tmp_path, as_of=None)


def test_columns_that_other_sections_misspell_are_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("t,y,region,price\n2024-01-01,a,EU,1\n2024-01-02,b,NO,2\n")
    loop = bundles.document(features={"include": ["price"], "crosses": [{"columns": ["region", "price"]}]}).spec
    ingest.read(data(), tmp_path, as_of=None, named=named_columns(loop))
    for place, section in {
        r"features.include\[0\]": {"features": {"include": ["regoin"]}},
        r"features.crosses\[0\].columns\[1\]": {"features": {"crosses": [{"columns": ["price", "regoin"]}]}},
        r"quality.slices\[0\].column": {"quality": {"slices": [{"column": "regoin", "min": 0.5}]}},
    }.items():
        named = named_columns(bundles.document(**section).spec)
        for read in (ingest.read, ingest.read_all):
            more = {"as_of": None} if read is ingest.read else {}
            with pytest.raises(DataRefused, match=rf"no column 'regoin' \({place}\); nearest is 'region'"):
                read(data(), tmp_path, named=named, **more)
