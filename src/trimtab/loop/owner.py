"""One controller a loop: the owner holds a lock that the kernel drops when it dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.errors import AlreadyRunning


@contextmanager
def owning(path: Path, command: str) -> Iterator[None]:
    """Own the loop while the block runs; raises AlreadyRunning with the owner's pid and command."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = _read(path)
            raise AlreadyRunning(
                f"this loop is already run by process {owner.get('pid', '?')} ({owner.get('command', '?')}, since "
                f"{owner.get('since', '?')}). Stop it with `trimtab down`, or give another state folder with --home"
            ) from error
        text = json.dumps(
            {"pid": os.getpid(), "command": command, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def owner_of(path: Path) -> dict[str, Any] | None:
    """Who owns the loop (`pid`, `command`, `since`), or None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(path)
    finally:
        os.close(descriptor)
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text() or "{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
