"""Finding the source's rows: files or objects by name or glob, databases by SQL; one table that knows its origin."""

from __future__ import annotations

import difflib
import glob
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trimtab.errors import DataRefused
from trimtab.stages.delimited import as_written, line_of_record, read_bytes, read_delimited
from trimtab.stages.objects import is_remote
from trimtab.stages.queries import run_query
from trimtab.stages.remote_files import Brought

if TYPE_CHECKING:
    from trimtab.spec.data import Source

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet"}


@dataclass(frozen=True)
class Piece:
    """Rows of one file: the first `rows` after those of the pieces before it; `lines`: they have line numbers."""

    path: Path
    rows: int
    lines: bool


@dataclass(frozen=True)
class Rows:
    """The rows of a source; `as_text`: every column is text still to be typed; `ordered`: rows have a position."""

    table: pa.Table
    source: Source
    pieces: tuple[Piece, ...] = ()
    as_text: bool = False
    ordered: bool = True
    brought: Brought | None = None  # holds the pieces' files

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

    def marks(self, column: str, chosen: np.ndarray) -> dict[str, int]:
        """How often which missing mark stands in these rows (positions) of a text column; {} where there is no text."""
        if not self.as_text:
            return {}
        texts = [text for piece in self.pieces for text in as_written(piece.path, self.source, column).to_pylist()]
        return dict(Counter(texts[row] for row in chosen))


def load(source: Source, folder: Path) -> Rows:
    """All rows of the source; relative paths count from `folder`. Raises DataRefused with what to do."""
    if (source.path is None) == (source.query is None):
        raise DataRefused("data.source: exactly one of `path` and `query` says where the rows are.")
    rows = (
        _load_files(source, folder) if source.query is None else Rows(run_query(source, folder), source, ordered=False)
    )
    if rows.table.num_rows == 0:
        raise DataRefused("data.source: the source holds no rows. Give one with at least one row.")
    return rows


def _load_files(source: Source, folder: Path) -> Rows:
    assert source.path is not None  # noqa: S101 - load() has checked
    brought = Brought(source.path) if is_remote(source.path) else None
    paths = brought.paths if brought else _find(source.path, folder)
    kinds = {format_of(path, source) for path in paths}
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
    return Rows(table, source, pieces, as_text=text, brought=brought)


def _find(pattern: str, folder: Path) -> list[Path]:
    exact = folder / pattern
    if exact.is_file():
        return [exact]
    if exact.is_dir():
        raise DataRefused(
            f"data.source.path: {pattern!r} is a folder. Name its files by a glob, such as {pattern}/*.csv."
        )
    paths = sorted(Path(name) for name in glob.glob(str(exact), recursive=True))  # noqa: PTH207 - the pattern may be absolute
    files = [path for path in paths if path.is_file()]
    if not files:
        raise DataRefused(
            f"data.source.path: no file {pattern!r} in {folder}{_beside(exact)}. Relative paths count from loop.yaml."
        )
    return files


def _beside(path: Path) -> str:
    parent = path.parent
    names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f" (nearest: {close[0]!r})" if close else ""


def format_of(path: Path, source: Source) -> str:
    """`csv` or `parquet`, as stated or by the ending; raises DataRefused if neither tells."""
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
