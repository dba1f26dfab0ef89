"""What happened to the stored objects, in order, for watches; old events are forgotten by `compact`."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

MOST_EVENTS = 100_000


@dataclass(frozen=True)
class Happened:
    """One change. `before` is None for a new object, `after` for a deleted one (`last` is how it was then)."""

    revision: int
    resource: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    last: dict[str, Any]


class Journal:
    """Events by revision; `changed` is notified of each."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.revision = 1
        self.oldest = 0  # watches from before this revision are answered 410
        self._events: deque[Happened] = deque(maxlen=MOST_EVENTS)

    def next(self) -> int:
        """A new revision."""
        self.revision += 1
        return self.revision

    def add(self, happened: Happened) -> None:
        """Remember the change and wake the watches."""
        with self.lock:
            if len(self._events) == MOST_EVENTS:
                self.oldest = self._events[0].revision
            self._events.append(happened)
            self.changed.notify_all()

    def since(self, revision: int, resource: str) -> list[Happened] | None:
        """Changes after the revision, or None if they are no longer all known."""
        if revision < self.oldest:
            return None
        found: list[Happened] = []
        for event in reversed(self._events):
            if event.revision <= revision:
                break
            if event.resource == resource:
                found.append(event)
        return found[::-1]

    def compact(self) -> None:
        """Forget everything up to now, as etcd does in time."""
        with self.lock:
            self.oldest = self.next()
            self._events.clear()
            self.changed.notify_all()
