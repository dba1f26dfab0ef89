"""A log whose Parquet files are shipped to an S3-compatible store: <uri>/day=YYYY-MM-DD/<segment>.parquet.

What was just acknowledged stays in the folder of its writer until it is in the store; a file is removed from the folder
only then, under the same name. So a shipment that dies anywhere is simply done again, and a reader that looks at the
folder first and at the store after it finds every record, and takes none twice.
"""

from __future__ import annotations

import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trimtab.adapters.records.journal import FOLDER, OPEN, SEALED
from trimtab.adapters.records.parquet import RecordFolder, log
from trimtab.stages.objects import Objects, Place, place

_DAY = "day="
_KEPT_BYTES = 256 << 20


class Kept:
    """Files that were read, for all logs of the process, as long as there is room: a shipped file never changes."""

    def __init__(self, most_bytes: int = _KEPT_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._lock = threading.Lock()
        self._tables: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()  # longest unread first

    def table(self, name: str, size: int, read: Callable[[], pa.Table]) -> pa.Table:
        """The file's records; read if they are not here."""
        with self._lock:
            known = self._tables.get((name, size))
            if known is not None:
                self._tables.move_to_end((name, size))
                return known
        table = read()
        with self._lock:
            if (name, size) not in self._tables:
                self._tables[name, size] = table
                self._bytes += table.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._tables.popitem(last=False)[1].nbytes
        return table


_KEPT = Kept()


class RecordBucket:
    """Reads what was shipped. Raises TrimtabError while the store does not answer."""

    def __init__(self, uri: str, schema: pa.Schema, objects: Objects | None = None, kept: Kept = _KEPT) -> None:
        self._place, self._schema, self._objects, self._kept = place(uri), schema, objects or Objects(), kept

    def read(self, since: datetime, until: datetime, besides: Callable[[str, str], bool] | None = None) -> pa.Table:
        """Records with `time` in [since, until); files for whose day and segment `besides` is true are left out."""
        chosen = self._files(since, until)
        tables = [
            self._table(found, size)
            for found, size, day, segment in chosen
            if besides is None or not besides(day, segment)
        ]
        table = pa.concat_tables(tables) if tables else self._schema.empty_table()
        low, high = (pa.scalar(moment, self._schema.field("time").type) for moment in (since, until))
        return table.filter(pc.and_(pc.greater_equal(table["time"], low), pc.less(table["time"], high)))

    def _table(self, found: Place, size: int) -> pa.Table:
        return self._kept.table(str(found), size, lambda: self._fetched(found))

    def _fetched(self, found: Place) -> pa.Table:
        content = self._objects.read(found)
        try:
            return pq.read_table(pa.BufferReader(content), schema=self._schema)
        except (pa.ArrowException, OSError) as error:
            log.warning("%s is no Parquet file of this log and is left out: %s", found, error)
            return self._schema.empty_table()

    def _files(self, since: datetime, until: datetime) -> list[tuple[Place, int, str, str]]:
        """Objects of the days asked for, with size, day and segment."""
        if since >= until:
            return []
        last = (until - timedelta(microseconds=1)).astimezone(UTC).date().isoformat()
        first = since.astimezone(UTC).date().isoformat()
        chosen = []
        for found, size in self._objects.under(self._place):
            day, _, name = found.key.removeprefix(self._place.key).lstrip("/").partition("/")
            wanted = day.startswith(_DAY) and first <= day.removeprefix(_DAY) <= last
            if wanted and name.endswith(".parquet") and "/" not in name:
                chosen.append((found, size, day, name.removesuffix(".parquet")))
        return chosen


class SpooledLog:
    """Reads a log that is partly in its writer's folder and partly in the store, each record once."""

    def __init__(self, folder: Path, schema: pa.Schema, uri: str, objects: Objects | None = None) -> None:
        self._folder = folder
        self._local = RecordFolder(folder, schema)
        self._remote = RecordBucket(uri, schema, objects)

    def read(self, since: datetime, until: datetime) -> pa.Table:
        """Records with `time` in [since, until). Raises TrimtabError while the store does not answer."""
        here, segments, files = self._local.read_named(since, until)
        there = self._remote.read(
            since, until, lambda day, segment: segment in segments or f"{day}/{segment}.parquet" in files
        )
        return pa.concat_tables([here, there])


class Shipper:
    """Moves a log's Parquet files to the store, oldest first. One at a time for a folder, after its compaction."""

    def __init__(self, folder: Path, uri: str, objects: Objects | None = None) -> None:
        """Raises Refused for a URI that is none."""
        self._folder, self._place, self._objects = folder, place(uri), objects or Objects()

    def ship(self) -> Iterator[Place]:
        """Ship what is there, a file at a step. Raises TrimtabError, and what was not shipped stays here."""
        for path in sorted(self._folder.glob(f"{_DAY}*/*.parquet"), key=_age):
            if path.name.startswith(".") or self._is_journalled(path.stem):
                continue  # being written, or its segment will be compacted again
            key = f"{path.parent.name}/{path.name}"
            to = Place(self._place.bucket, f"{self._place.key}/{key}" if self._place.key else key)
            self._objects.write(to, path.read_bytes())
            path.unlink()
            yield to

    def spooled_bytes(self) -> int:
        """What waits here: journal and Parquet files."""
        total = 0
        for path in self._folder.rglob("*"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # sealed, compacted or shipped this moment
            total += found.st_size if stat.S_ISREG(found.st_mode) else 0
        return total

    def _is_journalled(self, segment: str) -> bool:
        return any((self._folder / FOLDER / f"{segment}{suffix}").exists() for suffix in (OPEN, SEALED))


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except FileNotFoundError:
        return 0.0, path.name
