"""A log as a folder: journal segments, and day=YYYY-MM-DD/<segment>.parquet once they are compacted.

A segment is in the journal until all its Parquet files are in place, and readers prefer the journal. So a compaction
that dies anywhere is simply done again, and no record is read twice or missed. Files and lines that are no records stop
neither readers nor the compaction: they are named in the program's log and kept (a segment with such lines as
`.damaged`).
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trimtab.adapters.records.journal import FOLDER, OPEN, SEALED, read_segment, seal_orphans
from trimtab.errors import StorageFull

_DAY = "day="
_DAMAGED = ".damaged"

log = logging.getLogger("trimtab.records")


class RecordFolder:
    """Reads and compacts one log. `schema` must have a `time` column."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._told: set[Path] = set()

    def read(self, since: datetime, until: datetime) -> pa.Table:
        """Records with `time` in [since, until), each once, in no particular order."""
        return self.read_named(since, until)[0]

    def read_named(self, since: datetime, until: datetime) -> tuple[pa.Table, set[str], set[str]]:
        """The same, with the segments of the journal and the Parquet files (day/name) that were looked at."""
        tables, journalled = self._journal()
        files: set[str] = set()
        for path in self._parquet(since, until):
            if path.stem in journalled:
                continue
            try:
                tables.append(pq.read_table(path, schema=self._schema, partitioning=None))
                files.add(f"{path.parent.name}/{path.name}")
            except FileNotFoundError:
                continue  # shipped to an object store since it was listed
            except (pa.ArrowException, OSError) as error:
                self._tell(path, f"is no Parquet file of this log and is left out: {error}")
        table = pa.concat_tables(tables) if tables else self._schema.empty_table()
        low, high = pa.scalar(since, self._schema.field("time").type), pa.scalar(until, self._schema.field("time").type)
        chosen = table.filter(pc.and_(pc.greater_equal(table["time"], low), pc.less(table["time"], high)))
        return chosen, journalled, files

    def compact(self) -> int:
        """Turn sealed and orphaned segments into Parquet; returns how many. Raises StorageFull and loses nothing."""
        seal_orphans(self._folder)
        done = 0
        for path in sorted(path for path in (self._folder / FOLDER).glob(f"*{SEALED}") if path.is_file()):
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
        table, damaged = self._table(path, path.read_bytes())
        dates = table["time"].cast(pa.timestamp("us")).cast(pa.date32())
        for date in pc.unique(dates).to_pylist():
            folder = self._folder / f"{_DAY}{date.isoformat()}"
            folder.mkdir(exist_ok=True)
            made = folder / f".{path.stem}.tmp"
            try:
                pq.write_table(table.filter(pc.equal(dates, date)), made)
                made.replace(folder / f"{path.stem}.parquet")
            finally:
                made.unlink(missing_ok=True)
        if damaged:
            path.rename(path.with_suffix(_DAMAGED))
        else:
            path.unlink()

    def _journal(self) -> tuple[list[pa.Table], set[str]]:
        """Tables of the segments in the journal, and their names. Read before the Parquet files are listed."""
        tables, names = [], set()
        for stem in self._segments():
            found = self._content(stem)
            if found is not None:
                names.add(stem)
                tables.append(self._table(*found)[0])
        return tables, names

    def _segments(self) -> list[str]:
        """Listed twice: a segment that is sealed (renamed) while a folder is listed may be left out of the listing."""
        journal = self._folder / FOLDER
        stems: set[str] = set()
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):  # nobody has written yet
                listed = [name.rpartition(".") for name in os.listdir(journal)]  # noqa: PTH208 - a third of the time
                stems |= {stem for stem, _, suffix in listed if f".{suffix}" in (OPEN, SEALED)}
        return sorted(stems)

    def _content(self, stem: str) -> tuple[Path, bytes] | None:
        """The segment's bytes, also when it is being sealed this moment; None once it is compacted."""
        for suffix in (OPEN, SEALED):
            path = self._folder / FOLDER / f"{stem}{suffix}"
            try:
                return path, path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                self._tell(path, f"cannot be read and is left out: {error.strerror}")
        return None

    def _parquet(self, since: datetime, until: datetime) -> list[Path]:
        if since >= until:
            return []
        last = (until - timedelta(microseconds=1)).astimezone(UTC).date().isoformat()
        first = since.astimezone(UTC).date().isoformat()
        found: list[Path] = []
        for folder in self._folder.glob(f"{_DAY}*"):
            if first <= folder.name.removeprefix(_DAY) <= last:
                found += (path for path in folder.glob("*.parquet") if not path.name.startswith("."))
        return sorted(found)

    def _table(self, path: Path, content: bytes) -> tuple[pa.Table, int]:
        """The records of a segment, and how many of its lines are none."""
        records, lines = read_segment(content)
        damaged = len(lines)
        try:
            table = self._typed(records)
        except _MISFITS:
            fitting = [record for record in records if self._fits(record)]
            damaged += len(records) - len(fitting)
            table = self._typed(fitting)
        if damaged:
            self._tell(path, f"holds {damaged} line(s) that are no records of this log; they are left out and kept")
        return table, damaged

    def _typed(self, records: Sequence[dict[str, Any]]) -> pa.Table:
        rows = [{**record, "time": datetime.fromisoformat(record["time"])} for record in records]
        return pa.Table.from_pylist(rows, schema=self._schema)

    def _fits(self, record: dict[str, Any]) -> bool:
        try:
            self._typed([record])
        except _MISFITS:
            return False
        return True

    def _tell(self, path: Path, what: str) -> None:
        """Once a file, not at every reading."""
        if path not in self._told:
            self._told.add(path)
            log.warning("%s %s", path, what)


_MISFITS = (KeyError, TypeError, ValueError, OverflowError, pa.ArrowException)
