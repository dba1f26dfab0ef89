"""Reading rows by SQL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trimtab.errors import DataRefused
from trimtab.stages.duckdb_query import query_duckdb
from trimtab.stages.sql_statements import ONE_SELECT, begin_reading, opened_sqlite, refuse_others

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from trimtab.spec.data import Source


def run_query(source: Source, folder: Path) -> pa.Table:
    """The rows of `source.query`, a single SELECT, from DuckDB (`duckdb://`, files by SQL) or any SQLAlchemy URL.

    Paths in the URL or the SQL count from `folder`. Raises DataRefused, never with a password in its text.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    address = source.url
    if source.url_env is not None:
        address = os.environ.get(source.url_env, "")
        if not address:
            raise DataRefused(
                f"data.source.urlEnv: the environment variable {source.url_env} is not set. Set it to the URL."
            )
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        where = "the URL in " + source.url_env if source.url_env else "data.source.url"
        raise DataRefused(
            f"{where}: this is no database URL such as duckdb:// or postgresql://host/database."
        ) from None
    if source.url_env is None and _has_secret(url):
        raise DataRefused(
            "data.source.url: a password has no place in a document. Put the URL into an environment variable "
            "and name that in `urlEnv`."
        )
    if url.drivername == "duckdb":
        return _without_doubles(query_duckdb(str(source.query), url.database or ":memory:", folder))
    refuse_others(str(source.query))
    return _query_sqlalchemy(source, url, folder)


def _has_secret(url: URL) -> bool:
    return url.password is not None or any(re.search("passw|secret|token|key", name, re.I) for name in url.query)


def _query_sqlalchemy(source: Source, url: URL, folder: Path) -> pa.Table:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        if url.get_backend_name() == "sqlite":
            file = folder / str(url.database or ":memory:")
            if not file.is_file():
                raise DataRefused(f"data.source.url: no SQLite database {url.database!r} in {folder}.")
            engine = create_engine("sqlite://", creator=lambda: opened_sqlite(file.resolve()), poolclass=NullPool)
        else:
            engine = create_engine(url)
        names, records = _fetch(engine, str(source.query))
    except NoSuchModuleError:
        raise DataRefused(f"data.source.url: SQLAlchemy knows no database {url.drivername!r}. Check the URL.") from None
    except ImportError as error:
        raise DataRefused(
            f"data.source.url: the driver for {url.drivername} is not installed ({error}). Install it."
        ) from None
    except SQLAlchemyError as error:
        if "not authorized" in str(error):  # by us: see `begin_reading`
            raise DataRefused(f"{ONE_SELECT}.") from None
        # the driver's own words may repeat the URL, so the password is cut out, and the chain with it
        said = _first_line(error).replace(str(url.password), "***") if url.password else _first_line(error)
        raise DataRefused(f"data.source.query: {url.get_backend_name()} says: {said}") from None
    columns = [_column(name, [record[i] for record in records]) for i, name in enumerate(names)]
    return _without_doubles(pa.Table.from_arrays(columns, names=names))


def _fetch(engine: Engine, query: str) -> tuple[list[str], list[Any]]:
    try:
        with engine.connect() as connection:
            begin_reading(connection, query)
            result = connection.exec_driver_sql(query)  # no bind parameters: a colon in the SQL is a colon
            if not result.returns_rows:
                raise DataRefused("data.source.query: the statement gives no rows. Write a SELECT.")
            return list(result.keys()), list(result.fetchall())
    finally:
        engine.dispose()


def _column(name: str, values: list[Any]) -> pa.Array:
    """Arrow's type for Python values; a database without column types may mix them, which is refused with the row."""
    kinds: dict[str, int] = {}
    for row, value in enumerate(values):
        if value is not None:
            kind = "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
            kinds.setdefault("number" if kind == "Decimal" else kind, row)
    if len(kinds) > 1:
        (first, one), (second, two) = list(kinds.items())[:2]
        raise DataRefused(
            f"column {name!r}: row {one + 1} of the query is {first} ({values[one]!r}), row {two + 1} is {second} "
            f"({values[two]!r}). CAST the column to one type in the query."
        )
    if "number" in kinds and any(not isinstance(value, int) for value in values if value is not None):
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError) as error:
        raise DataRefused(f"column {name!r}: the query's values cannot be read ({error}). CAST them.") from error


def _without_doubles(table: pa.Table) -> pa.Table:
    if len(set(table.column_names)) != len(table.column_names):
        raise DataRefused("data.source.query: two columns have the same name. Rename one with AS.")
    return table


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:500]
