"""A log as a folder: journal segments, and day=YYYY-MM-DD/<segment>.parquet once they are compacted.

A segment is in the journal until all its Parquet files are in place, and readers prefer the journal. So a compaction that
dies anywhere is simply done again, and no record is read twice or missed.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trimtab.adapters.records.journal import FOLDER, OPEN, SEALED, read_segment, seal_orphans
from trimtab.errors import StorageFull

_DAY = "day="


class RecordFolder:
    """Reads and compacts one log. `schema` must have a `time` column."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema

    def read(self, since: datetime, until: datetime) -> pa.Table:
        """Records with `time` in [since, until), each once, in no particular order."""
        tables, journalled = self._journal()
        for path in self._parquet(since, until):
            if path.stem in journalled:
                continue
            with contextlib.suppress(FileNotFoundError):  # a merge replaced it; what it held is in the merged file
                tables.append(pq.read_table(path, schema=self._schema, partitioning=None))
        table = pa.concat_tables(tables) if tables else self._schema.empty_table()
        low, high = pa.scalar(since, self._schema.field("time").type), pa.scalar(until, self._schema.field("time").type)
        return table.filter(pc.and_(pc.greater_equal(table["time"], low), pc.less(table["time"], high)))

    def compact(self) -> int:
        """Turn sealed and orphaned segments into Parquet; returns how many. Raises StorageFull and loses nothing."""
        seal_orphans(self._folder)
        done = 0
        for path in sorted((self._folder / FOLDER).glob(f"*{SEALED}")):
            try:
                self._compact(path)
            except OSError as error:
                raise StorageFull(
                    f"{path} could not be turned into Parquet: {error.strerror or error}. "
                    "It stays where it is and is read from there; make room on that disk"
                ) from error
            done += 1
        return done

    def _compact(self, path: Path) -> None:
        table = self._table(read_segment(path.read_bytes()))
        days = pc.strftime(table["time"], "%Y-%m-%d")
        for day in pc.unique(days).to_pylist():
            folder = self._folder / f"{_DAY}{day}"
            folder.mkdir(exist_ok=True)
            made = folder / f".{path.stem}.tmp"
            try:
                pq.write_table(table.filter(pc.equal(days, day)), made)
                os.replace(made, folder / f"{path.stem}.parquet")
            finally:
                made.unlink(missing_ok=True)
        path.unlink()

    def _journal(self) -> tuple[list[pa.Table], set[str]]:
        """Tables of the segments in the journal, and their names. Read before the Parquet files are listed."""
        tables, names = [], set()
        for path in sorted((self._folder / FOLDER).glob("*")):
            content = self._content(path)
            if content is not None:
                names.add(path.stem)
                tables.append(self._table(read_segment(content)))
        return tables, names

    def _content(self, path: Path) -> bytes | None:
        """The segment's bytes, also when it is being sealed this moment; None once it is compacted."""
        if path.suffix not in (OPEN, SEALED):
            return None
        for candidate in (path, path.with_suffix(SEALED)):
            with contextlib.suppress(FileNotFoundError):
                return candidate.read_bytes()
        return None

    def _parquet(self, since: datetime, until: datetime) -> list[Path]:
        first, last = (
            f"{since.astimezone(UTC):%Y-%m-%d}",
            f"{(until - timedelta(microseconds=1)).astimezone(UTC):%Y-%m-%d}",
        )
        found: list[Path] = []
        for folder in self._folder.glob(f"{_DAY}*"):
            if first <= folder.name.removeprefix(_DAY) <= last:
                found += folder.glob("*.parquet")
        return sorted(found)

    def _table(self, records: list[dict[str, Any]]) -> pa.Table:
        if not records:
            return self._schema.empty_table()
        for record in records:
            record["time"] = datetime.fromisoformat(record["time"])
        return pa.Table.from_pylist(records, schema=self._schema)
