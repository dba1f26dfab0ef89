"""Rows of a loop out of PostgreSQL: in a transaction that cannot write, whatever the statement hides."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.stages import ingest
from trimtab.testing.postgres_server import PostgresServer

pytestmark = pytest.mark.local


def test_a_statement_that_writes_is_refused_and_has_not_run(
    engine: sa.Engine, server: PostgresServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("create table rows (t text, y text)")
        connection.exec_driver_sql("insert into rows values ('2024-01-01', 'a'), ('2024-01-02', 'b')")
    monkeypatch.setenv("SOURCE_URL", server.url(database))

    def read(query: str) -> int:
        source = {"query": query, "url_env": "SOURCE_URL"}
        plain = {"source": source, "time": {"column": "t"}, "label": {"column": "y"}}
        return len(ingest.read(Data.model_validate(plain), tmp_path, as_of=None))

    for query in ("delete from rows returning *", "select * from rows; delete from rows"):
        with pytest.raises(DataRefused, match="write one SELECT"):
            read(query)
    with pytest.raises(DataRefused, match="read-only transaction"):
        read("with gone as (delete from rows returning *) select * from gone")
    assert read("select * from rows") == 2
