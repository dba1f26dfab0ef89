"""A query reads and does nothing else: not to the database, and not to the machine that it runs on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import pytest
from tabular import data

from trimtab.errors import DataRefused
from trimtab.spec.generate import SMALLEST
from trimtab.spec.read import check
from trimtab.stages import ingest
from trimtab.stages.sql_statements import refuse_others


def _read(folder: Path, query: str, url: str = "duckdb://") -> object:
    return ingest.read(data(source={"query": query, "url": url}), folder, as_of=None)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder with rows in a CSV, an SQLite and a DuckDB database; a file beside the folder."""
    folder = tmp_path / "loop"
    folder.mkdir()
    (tmp_path / "outside.csv").write_text("t,y\n2024-01-01,a\n")
    (folder / "rows.csv").write_text("t,y\n2024-01-01,a\n2024-01-02,b\n")
    for connection in (sqlite3.connect(folder / "store.db"), duckdb.connect(str(folder / "store.duckdb"))):
        connection.execute("create table rows (t text, y text)")
        connection.execute("insert into rows values ('2024-01-01', 'a'), ('2024-01-02', 'b')")
        connection.commit()
        connection.close()
    return folder


WRITING = [
    "drop table rows",
    "delete from rows",
    "delete from rows returning t, y",
    "insert into rows values ('2024-01-03', 'c') returning *",
    "update rows set y = 'z' returning *",
    "create table other as select * from rows",
    "select * from rows; drop table rows",
    "/* select */ drop table rows",
    "-- harmless\ndrop table rows",
    "with gone as (select 1) delete from rows returning *",
    "attach 'other.db' as other",
    "pragma journal_mode = delete",
]


@pytest.mark.parametrize("url", ["sqlite:///store.db", "duckdb:///store.duckdb"])
@pytest.mark.parametrize("query", WRITING)
def test_what_writes_is_refused_and_has_not_run(store: Path, url: str, query: str) -> None:
    with pytest.raises(DataRefused):
        _read(store, query, url)
    assert len(_read(store, "select * from rows", url)) == 2
    assert {one.name for one in store.iterdir()} == {"rows.csv", "store.db", "store.duckdb"}


@pytest.mark.parametrize("url", ["sqlite:///store.db", "duckdb:///store.duckdb"])
@pytest.mark.parametrize(
    "query",
    [
        "select * from rows;",
        "  -- a remark; with a semicolon\n(select * from rows)",
        "with kept as (select * from rows where y <> ';drop') select upper(y) as y, t from kept",
        "select t, 'update' as y from rows",
    ],
)
def test_what_reads_is_read(store: Path, url: str, query: str) -> None:
    if not (url.startswith("sqlite") and "(select * from rows)" in query):  # SQLite takes no brackets around a SELECT
        assert len(_read(store, query, url)) == 2


@pytest.mark.parametrize(
    "query",
    [
        "select * from '{outside}'",
        "select * from '../outside.csv'",
        "select content as y, '2024-01-01' as t from read_text('/etc/passwd')",
        "select content as y, '2024-01-01' as t from read_blob('/proc/self/environ')",
        "select file as y, '2024-01-01' as t from glob('/etc/*')",
        "select * from 's3://bucket/rows.csv'",
        "select * from 'https://example.com/rows.csv'",
    ],
)
def test_files_elsewhere_are_refused(store: Path, query: str) -> None:
    with pytest.raises(DataRefused, match=r"only files below|extension"):
        _read(store, query.format(outside=store.parent / "outside.csv"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("copy (select 1) to 'made.csv'", "COPY"),
        ("set enable_external_access = true", "SET"),
        ("load httpfs", "LOAD"),
        ("select 1; select 2", "SELECT, SELECT"),
        ("", "nothing"),
    ],
)
def test_other_statements_are_refused_by_name(store: Path, query: str, found: str) -> None:
    section = data(source={"query": query or " "})
    with pytest.raises(DataRefused, match=rf"write one SELECT.*Found: {found}\."):
        ingest.read(section, store, as_of=None)
    assert not (store / "made.csv").exists()


def test_files_below_the_folder_are_read_by_either_kind_of_path(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.parent)
    for path in ("rows.csv", str(store / "rows.csv"), "*.csv"):
        assert len(_read(store, f"select * from '{path}'")) == 2
    assert Path.cwd() == store.parent


@pytest.mark.parametrize("query", ["exec sp_who", "merge into rows using x on 1=1", "select 1; select 2", "begin"])
def test_other_databases_get_one_reading_statement(query: str) -> None:
    with pytest.raises(DataRefused, match="write one SELECT"):
        refuse_others(query)


@pytest.mark.parametrize("name", ["TRIMTAB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"])
def test_variables_of_trimtab_are_not_the_documents(name: str) -> None:
    text = SMALLEST.replace("path: orders.csv", f"query: q, urlEnv: {name}")
    (problem,) = check(text.encode())[1]
    assert (problem.path, problem.line) == ("spec.data.source.urlEnv", 7)
    assert "none of TRIMTAB_*, AWS_*, MLFLOW_*" in problem.expected
    assert check(text.replace(name, "SOURCE_URL").encode())[0] is not None
