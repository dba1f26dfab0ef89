"""Finding the source's rows: files by path or glob, and databases by SQL; as one Arrow table that knows its origin."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trimtab.errors import DataRefused
from trimtab.stages.delimited import line_of_record, read_bytes, read_delimited

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from trimtab.spec.data import Source

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}


@dataclass(frozen=True)
class Piece:
    """Rows of one file: the first `rows` after those of the pieces before it. `lines` says that rows have line numbers."""

    path: Path
    rows: int
    lines: bool


@dataclass(frozen=True)
class Rows:
    """The rows of a source. `as_text` says that every column is text still to be typed; `ordered`, that rows have a position."""

    table: pa.Table
    source: Source
    pieces: tuple[Piece, ...] = ()
    as_text: bool = False
    ordered: bool = True

    def where(self, row: int) -> str:
        """Where row `row` (0-based in `table`) comes from, for a message: file and line if there is one."""
        first = 0
        for piece in self.pieces:
            if row < first + piece.rows:
                if piece.lines:
                    return f"{piece.path.name} line {line_of_record(piece.path, self.source, row - first)}"
                return f"{piece.path.name} row {row - first + 1}"
            first += piece.rows
        return f"row {row + 1} of the query"


def load(source: Source, folder: Path) -> Rows:
    """All rows of the source; relative paths count from `folder`. Raises DataRefused with what to do."""
    if (source.path is None) == (source.query is None):
        raise DataRefused("data.source: exactly one of `path` and `query` says where the rows are.")
    rows = _load_files(source, folder) if source.query is None else _load_query(source, folder)
    if rows.table.num_rows == 0:
        raise DataRefused("data.source: the source holds no rows. Give one with at least one row.")
    return rows


def _load_files(source: Source, folder: Path) -> Rows:
    assert source.path is not None  # noqa: S101 - load() has checked
    paths = _find(source.path, folder)
    kinds = {_format(path, source) for path in paths}
    if len(kinds) > 1:
        raise DataRefused(f"data.source.path: {source.path!r} matches CSV and Parquet files. Name only one kind.")
    text = kinds == {"csv"}
    tables = [read_delimited(path, source) if text else _read_parquet(path) for path in paths]
    for path, table in zip(paths[1:], tables[1:], strict=True):
        _refuse_other_columns(paths[0], tables[0], path, table)
    pieces = tuple(Piece(path, table.num_rows, text) for path, table in zip(paths, tables, strict=True))
    first = tables[0].column_names
    try:
        table = pa.concat_tables([table.select(first) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataRefused(
            f"data.source.path: the files matching {source.path!r} give one column different types ({error}). "
            "Write them with one type, or read them by a query that casts."
        ) from error
    return Rows(table, source, pieces, as_text=text)


def _find(pattern: str, folder: Path) -> list[Path]:
    exact = folder / pattern
    if exact.is_file():
        return [exact]
    if exact.is_dir():
        raise DataRefused(
            f"data.source.path: {pattern!r} is a folder. Name its files by a glob, such as {pattern}/*.csv."
        )
    paths = sorted(Path(name) for name in glob.glob(str(exact), recursive=True))
    files = [path for path in paths if path.is_file()]
    if not files:
        raise DataRefused(
            f"data.source.path: no file {pattern!r} in {folder}{_beside(exact)}. Relative paths count from loop.yaml."
        )
    return files


def _beside(path: Path) -> str:
    import difflib

    parent = path.parent
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" (nearest: {close[0]!r})" if close else ""


def _format(path: Path, source: Source) -> str:
    if source.format:
        return source.format
    stem = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    kind = _ENDINGS.get(stem.suffix.lower())
    if kind is None:
        raise DataRefused(
            f"{path.name}: the ending does not say what the file is. Say `data.source.format: csv` or parquet."
        )
    return kind


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(pa.BufferReader(read_bytes(path))).read()
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(f"{path.name}: this is no readable Parquet file ({error}). Write it again.") from error
    if len(set(table.column_names)) != len(table.column_names):
        raise DataRefused(f"{path.name}: two columns have the same name. Rename one.")
    if table.num_rows == 0:
        raise DataRefused(f"{path.name}: the file holds no rows. Give a file with at least one row.")
    return table


def _refuse_other_columns(first: Path, expected: pa.Table, path: Path, found: pa.Table) -> None:
    missing = [name for name in expected.column_names if name not in found.column_names]
    new = [name for name in found.column_names if name not in expected.column_names]
    if missing or new:
        raise DataRefused(
            f"{path.name}: its columns differ from those of {first.name}: missing {missing}, new {new}. "
            "Files of one source need the same header."
        )


def _load_query(source: Source, folder: Path) -> Rows:
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
    return _query_duckdb(source, url, folder) if url.drivername == "duckdb" else _query_sqlalchemy(source, url, folder)


def _has_secret(url: URL) -> bool:
    return url.password is not None or any(re.search("passw|secret|token|key", name, re.I) for name in url.query)


def _query_duckdb(source: Source, url: URL, folder: Path) -> Rows:
    import duckdb

    database = url.database or ":memory:"
    file = folder / database
    if database != ":memory:" and not file.is_file():
        raise DataRefused(f"data.source.url: no DuckDB database {database!r} in {folder}.")
    try:
        with duckdb.connect(
            ":memory:" if database == ":memory:" else str(file),
            read_only=database != ":memory:",
            # nothing is fetched from the network behind a person's back
            config={"autoinstall_known_extensions": False, "file_search_path": str(folder)},
        ) as connection:
            table = connection.execute(str(source.query)).to_arrow_table()
    except duckdb.Error as error:
        raise DataRefused(f"data.source.query: DuckDB says: {_first_line(error)}") from error
    return replace(_from_query(source, table), ordered=False)


def _query_sqlalchemy(source: Source, url: URL, folder: Path) -> Rows:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        file = folder / str(url.database)
        if not file.is_file():
            raise DataRefused(f"data.source.url: no SQLite database {url.database!r} in {folder}.")
        url = url.set(database=str(file))
    try:
        engine = create_engine(url)
        names, records = _fetch(engine, str(source.query))
    except NoSuchModuleError:
        raise DataRefused(f"data.source.url: SQLAlchemy knows no database {url.drivername!r}. Check the URL.") from None
    except ImportError as error:
        raise DataRefused(
            f"data.source.url: the driver for {url.drivername} is not installed ({error}). Install it."
        ) from None
    except SQLAlchemyError as error:
        # the driver's own words may repeat the URL, so the password is cut out, and the chain with it
        said = _first_line(error).replace(str(url.password), "***") if url.password else _first_line(error)
        raise DataRefused(f"data.source.query: {url.get_backend_name()} says: {said}") from None
    columns = [_column(name, [record[i] for record in records]) for i, name in enumerate(names)]
    return replace(_from_query(source, pa.Table.from_arrays(columns, names=names)), ordered=False)


def _fetch(engine: Engine, query: str) -> tuple[list[str], list[Any]]:
    try:
        with engine.connect() as connection:
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


def _from_query(source: Source, table: pa.Table) -> Rows:
    if len(set(table.column_names)) != len(table.column_names):
        raise DataRefused("data.source.query: two columns have the same name. Rename one with AS.")
    return Rows(table, source)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:500]
