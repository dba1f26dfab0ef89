"""The loop's own memory: its state, its decisions, and what people asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class Turn:
    """One turn as it was committed: everything is JSON-ready."""

    number: int
    time: datetime
    state: Mapping[str, Any]
    observed: Mapping[str, Any] = field(default_factory=dict)
    decisions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Wish:
    """What a person asked for (`promote`, `rollback`, `retrain`); `answered_by` is the turn that answered."""

    number: int
    time: datetime
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    answered_by: int | None = None


class TurnStore(Protocol):
    """Committed turns of one loop, in order."""

    def latest(self) -> Turn | None:
        """The newest turn."""
        ...

    def commit(self, turn: Turn, answered_wishes: Sequence[int] = ()) -> None:
        """Store the turn; its number must be the next one, else TurnTaken: another controller was faster."""
        ...

    def newest_decisions(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last decisions over all turns, newest first."""
        ...


class WishStore(Protocol):
    """What people asked for."""

    def wish(self, time: datetime, kind: str, arguments: Mapping[str, Any]) -> int:
        """Remember the wish; returns its number."""
        ...

    def open_wishes(self) -> Sequence[Wish]:
        """Wishes that no turn has answered, oldest first."""
        ...
