"""Turns and wishes in the ledger database (SQLite here, PostgreSQL on a cluster)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from trimtab.adapters.sql import JSON, make_tables
from trimtab.errors import TurnTaken
from trimtab.ports.turns import Turn, Wish

KEPT_UNDECIDED = 1000  # newest turns that are kept though they decided nothing

_schema = sa.MetaData()

_turns = sa.Table(
    "turns",
    _schema,
    sa.Column("loop", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.String(40), nullable=False),
    sa.Column("decided", sa.Boolean, nullable=False),
    sa.Column("state", JSON, nullable=False),
    sa.Column("observed", JSON, nullable=False),
    sa.Column("decisions", JSON, nullable=False),
)

_wishes = sa.Table(
    "wishes",
    _schema,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("loop", sa.String(200), nullable=False, index=True),
    sa.Column("time", sa.String(40), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("arguments", JSON, nullable=False),
    sa.Column("answered_by", sa.Integer),
)


class SqlTurns:
    """TurnStore and WishStore of one loop."""

    def __init__(self, engine: sa.Engine, loop: str) -> None:
        self._engine = engine
        self._loop = loop
        make_tables(engine, _schema)

    def _old_undecided(self, number: int) -> sa.Delete:
        """Turns that decided nothing are dropped in the end, so that a loop may run for years."""
        return _turns.delete().where(
            _turns.c.loop == self._loop, _turns.c.number < number - KEPT_UNDECIDED, ~_turns.c.decided
        )

    def latest(self) -> Turn | None:
        """The newest turn."""
        query = sa.select(_turns).where(_turns.c.loop == self._loop).order_by(_turns.c.number.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _turn(row)

    def commit(self, turn: Turn, answered_wishes: Sequence[int] = ()) -> None:
        """Store the turn and mark the wishes it answered, in one transaction; raises TurnTaken."""
        row = {
            "loop": self._loop,
            "number": turn.number,
            "time": _text(turn.time),
            "decided": bool(turn.decisions),
            "state": dict(turn.state),
            "observed": dict(turn.observed),
            "decisions": [dict(decision) for decision in turn.decisions],
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(_turns.insert().values(row))
                if turn.number % KEPT_UNDECIDED == 0:
                    connection.execute(self._old_undecided(turn.number))
                if answered_wishes:
                    connection.execute(
                        _wishes.update().where(_wishes.c.number.in_(answered_wishes)).values(answered_by=turn.number)
                    )
        except sa.exc.IntegrityError as error:
            raise TurnTaken(f"turn {turn.number} of {self._loop} was committed by another controller") from error

    def newest_decisions(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last decisions, newest first."""
        query = sa.select(_turns.c.decisions).where(_turns.c.loop == self._loop, _turns.c.decided)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_turns.c.number.desc()).limit(limit)).all()
        return [decision for row in rows for decision in reversed(row.decisions)][:limit]

    def wish(self, time: datetime, kind: str, arguments: Mapping[str, Any]) -> int:
        """Remember what a person asked for; returns its number."""
        row = {"loop": self._loop, "time": _text(time), "kind": kind, "arguments": dict(arguments)}
        with self._engine.begin() as connection:
            key = connection.execute(_wishes.insert().values(row)).inserted_primary_key
        return int(key[0]) if key is not None else 0

    def open_wishes(self) -> Sequence[Wish]:
        """Wishes that no turn has answered, oldest first."""
        query = sa.select(_wishes).where(_wishes.c.loop == self._loop, _wishes.c.answered_by.is_(None))
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_wishes.c.number)).all()
        return [Wish(row.number, _time(row.time), row.kind, row.arguments, row.answered_by) for row in rows]


def _turn(row: Any) -> Turn:
    return Turn(row.number, _time(row.time), row.state, row.observed, row.decisions)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
