"""Turns and wishes in memory: for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from trimtab.errors import TurnTaken
from trimtab.ports.turns import Turn, Wish


class MemoryTurns:
    """TurnStore and WishStore that forget at exit."""

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}
        self._wishes: dict[int, Wish] = {}

    def latest(self) -> Turn | None:
        """The newest turn."""
        return self._turns[max(self._turns)] if self._turns else None

    def commit(self, turn: Turn, answered_wishes: Sequence[int] = ()) -> None:
        """Store the turn; raises TurnTaken if its number exists."""
        if turn.number in self._turns:
            raise TurnTaken(f"turn {turn.number} was committed by another controller")
        self._turns[turn.number] = turn
        for number in answered_wishes:
            self._wishes[number] = replace(self._wishes[number], answered_by=turn.number)

    def newest_decisions(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last decisions, newest first."""
        turns = sorted(self._turns.values(), key=lambda turn: -turn.number)
        return [decision for turn in turns for decision in reversed(turn.decisions)][:limit]

    def wish(self, time: datetime, kind: str, arguments: Mapping[str, Any]) -> int:
        """Remember the wish; returns its number."""
        number = len(self._wishes) + 1
        self._wishes[number] = Wish(number, time, kind, dict(arguments))
        return number

    def open_wishes(self) -> Sequence[Wish]:
        """Wishes that no turn has answered, oldest first."""
        return [wish for wish in self._wishes.values() if wish.answered_by is None]
