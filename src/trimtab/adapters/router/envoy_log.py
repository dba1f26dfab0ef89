"""Counts by version out of Envoy's access log, read as it grows; the file is kept small and no line is lost for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from trimtab.adapters.router.envoy_config import UNSERVED
from trimtab.ports.router import NOBODY

MOST_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_GRPC_FAILURES = frozenset(
    {2, 4, 8, 12, 13, 14, 15}
)  # unknown, deadline, exhausted, unimplemented, internal, unavailable, data loss


def verdict(line: dict[str, Any]) -> tuple[str, bool] | None:
    """(version picked, whether it failed to answer), or None: not a prediction, or the client left before an answer.

    NOBODY is picked while no version is there to be picked: such a prediction is never answered.
    """
    if line.get("route") == UNSERVED:  # whatever a client says in the header
        return NOBODY, True
    picked, status = line.get("picked"), line.get("status")
    if not isinstance(picked, str) or not isinstance(status, int) or (status == 0 and "DC" in str(line.get("flags"))):
        return None
    served_by_other = line.get("served") not in (picked, None)
    return picked, status == 0 or status >= 500 or served_by_other or line.get("grpc") in _GRPC_FAILURES


class AccessLog:
    """Follows one log file. Each line is counted once, whatever happens to the file in between."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._stream: BinaryIO | None = None
        self._moved = False
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._put_aside()  # an earlier router counted what is there

    def start_anew(self) -> None:
        """Count what is left, and put the file aside: its writer is dead and may have left half a line."""
        self.read()
        self._put_aside()

    def read(self) -> None:
        """Count the whole lines that were added."""
        while True:
            if self._stream is None and not self._open():
                return
            self._count()
            # Envoy opens the new file only when it is done with the old one, so the old one is complete now.
            if not (self._moved and self._path.exists()):
                return
            self._count()
            self._let_go()

    def keep_small(self, reopen: Callable[[], object]) -> None:
        """Put the file aside once it is large; `reopen` tells the writer to make a new one."""
        if not self._moved and self._stream is not None and self._stream.tell() > self._most_bytes:
            self._path.replace(self._aside)
            self._moved = True
            reopen()

    def _put_aside(self) -> None:
        self._let_go()
        if self._path.exists():
            self._path.replace(self._aside)

    @property
    def _aside(self) -> Path:
        return self._path.with_name(self._path.name + ".1")

    def _open(self) -> bool:
        try:
            self._stream = self._path.open("rb")
        except FileNotFoundError:
            return False
        return True

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream, self._moved = None, False

    def _count(self) -> None:
        assert self._stream is not None  # noqa: S101 - read() opened it
        while chunk := self._stream.read(_CHUNK_BYTES):
            whole = chunk.rfind(b"\n") + 1
            if len(chunk) > whole:
                self._stream.seek(whole - len(chunk), 1)  # half a line: read again when the rest is there
            for line in chunk[:whole].splitlines():
                self._count_line(line)
            if len(chunk) < _CHUNK_BYTES:
                return

    def _count_line(self, line: bytes) -> None:
        try:
            found = verdict(json.loads(line))
        except ValueError:  # a line torn by a full disk
            return
        if found:
            self.requests[found[0]] += 1
            self.failures[found[0]] += found[1]
