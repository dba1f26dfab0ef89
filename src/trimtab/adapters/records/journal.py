"""Append-only segments of JSON lines: a record is in the kernel before its writer goes on.

One `write` an append, to a file whose room was reserved beforehand, so that a full disk is met before a record is taken
and never half-way through one. Killing the process (-9 too) loses nothing that was appended; only a loss of the whole
machine could, since nothing is synced to the disk. A segment is `<stem>-<pid>-<nanoseconds>.open` while it is written
(and locked: the kernel unlocks it when the writer dies) and `.jsonl` once it is sealed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from trimtab.errors import StorageFull

FOLDER = "journal"
OPEN, SEALED = ".open", ".jsonl"
_RESERVED_BYTES = 1 << 20
_SEGMENT_BYTES = 32 << 20
_SEGMENT_SECONDS = 30.0


class Journal:
    """Writes one log's records from one process. Not for several threads at once."""

    def __init__(
        self,
        folder: Path,
        stem: str,
        segment_bytes: int = _SEGMENT_BYTES,
        segment_seconds: float = _SEGMENT_SECONDS,
        reserved_bytes: int = _RESERVED_BYTES,
    ) -> None:
        """`folder` is the log's folder; raises StorageFull if it cannot be written."""
        self._folder = folder / FOLDER
        self._stem = stem
        self._segment_bytes = segment_bytes
        self._segment_seconds = segment_seconds
        self._reserve = reserved_bytes
        self._descriptor = -1
        self._path = Path()
        self._written = self._reserved = 0
        self._opened = 0.0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFull(
                f"{self._folder} cannot be made: {error.strerror}. Make room, or move the state with --home"
            ) from error

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Make the records safe against the death of any process; raises StorageFull, and then none is stored."""
        lines = b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)
        if not lines:
            return
        try:
            if self._descriptor >= 0 and self._is_due(len(lines)):
                self.close()
            if self._descriptor < 0:
                self._open()
            self._make_room(len(lines))
            self._write(lines)
        except OSError as error:
            raise StorageFull(
                f"the log in {self._folder} cannot be written: {error.strerror}. "
                "Make room on that disk; writing goes on by itself"
            ) from error

    def close(self) -> None:
        """Seal the segment under way; the next append opens another."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            os.ftruncate(descriptor, self._written)
            self._path.rename(self._path.with_suffix(SEALED))
        finally:
            os.close(descriptor)

    def _is_due(self, coming: int) -> bool:
        return self._written + coming > self._segment_bytes or time.monotonic() - self._opened > self._segment_seconds

    def _open(self) -> None:
        while True:
            path = self._folder / f"{self._stem}-{os.getpid()}-{time.time_ns()}{OPEN}"
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue  # the clock was set back to the very nanosecond of an older segment
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if path.exists():
                    break
            except OSError:
                os.close(descriptor)
                raise
            os.close(
                descriptor
            )  # before it was locked it was taken for an orphan and sealed: what came in would be lost
        self._descriptor, self._path, self._opened = descriptor, path, time.monotonic()
        self._written = self._reserved = 0

    def _make_room(self, coming: int) -> None:
        needed = self._written + coming
        if needed <= self._reserved:
            return
        wanted = max(needed, self._reserved + self._reserve)
        try:
            os.posix_fallocate(self._descriptor, 0, wanted)
        except OSError:
            os.posix_fallocate(self._descriptor, 0, needed)  # a nearly full disk may still take these records
            wanted = needed
        self._reserved = wanted

    def _write(self, lines: bytes) -> None:
        """One write; what a short one left behind is overwritten by the next append, or cut off as a torn line."""
        done = os.pwrite(self._descriptor, lines, self._written)
        if done != len(lines):
            os.pwrite(self._descriptor, b"\0" * done, self._written)
            raise OSError(28, "no space left on device")
        self._written += done


def seal_orphans(folder: Path) -> None:
    """Seal the segments whose writer is dead: their lock can be had."""
    for path in sorted((folder / FOLDER).glob(f"*{OPEN}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, IsADirectoryError):
            continue  # its writer sealed it just now, or it is no segment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                path.rename(path.with_suffix(SEALED))
        except BlockingIOError:
            continue  # its writer lives
        finally:
            os.close(descriptor)


def read_segment(content: bytes) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The whole records of a segment's bytes, and the lines that are none.

    Reserved room (zeros) and a torn last line, which was never acknowledged, are neither.
    """
    end = content.find(b"\0")
    whole = content if end < 0 else content[:end]
    records, damaged = [], []
    for line in whole[: whole.rfind(b"\n") + 1].split(b"\n")[:-1]:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            damaged.append(line)
    return records, damaged
