"""Reading rows by DuckDB: one SELECT, over files below one folder and nothing else of the machine or the network."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from trimtab.errors import DataRefused
from trimtab.stages.sql_statements import ONE_SELECT

_AT_ONCE = threading.Lock()  # the working folder is the whole process's


def query_duckdb(query: str, database: str, folder: Path) -> pa.Table:
    """The rows of the query; raises DataRefused before anything runs if it is no single SELECT.

    Files are those below `folder`, given absolutely or from there: a document must not read what else is on the
    machine that trains, such as a pod's secrets. Nothing is fetched from the network, and no extension is loaded.
    """
    import duckdb

    file = folder / database
    if database != ":memory:" and not file.is_file():
        raise DataRefused(f"data.source.url: no DuckDB database {database!r} in {folder}.")
    try:
        with (
            duckdb.connect(
                ":memory:" if database == ":memory:" else str(file.resolve()),
                read_only=database != ":memory:",
                config={"autoinstall_known_extensions": False},
            ) as connection,
            _within(folder),
        ):
            statements = connection.extract_statements(query)
            kinds = [statement.type for statement in statements]
            if kinds != [duckdb.StatementType.SELECT]:
                found = ", ".join(kind.name for kind in kinds) or "nothing"
                raise DataRefused(f"{ONE_SELECT}. Found: {found}.")
            if folder != Path(folder.anchor):
                connection.execute("SET allowed_directories = [?]", [f"{folder.resolve()}/"])
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            table: pa.Table = connection.sql(query).to_arrow_table()
    except duckdb.PermissionException as error:
        said = _first_line(error).removeprefix("Permission Error: ").partition(" - ")[0]
        raise DataRefused(
            f"data.source.query: {said}: only files below {folder} are read by SQL. Put the file there, or name one in "
            "`data.source.path`."
        ) from error
    except duckdb.Error as error:
        raise DataRefused(f"data.source.query: DuckDB says: {_first_line(error)}") from error
    return table


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    """DuckDB checks a relative path by the process's folder."""
    with _AT_ONCE, contextlib.chdir(folder):
        yield


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:500]
