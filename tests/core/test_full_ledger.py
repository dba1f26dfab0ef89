"""A ledger without room: the turn is refused whole, nothing committed is lost, and it goes on once there is room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from trimtab.adapters.sql import ledger_engine
from trimtab.adapters.turns.sql import SqlTurns
from trimtab.errors import StorageFull
from trimtab.ports.turns import Turn

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def _turn(number: int) -> Turn:
    decision = {"kind": "hold", "sentence": "x" * 5000, "number": number}
    return Turn(number, T0 + timedelta(minutes=number), {"n": number}, {}, [decision])


def test_a_turn_is_stored_whole_or_refused_with_what_to_do(tmp_path: Path) -> None:
    engine = ledger_engine(tmp_path / "ledger.db")
    turns = SqlTurns(engine, "m")
    pages = 100_000

    def bound(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    sa.event.listen(engine, "begin", bound)
    with engine.connect() as connection:
        used = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    pages = used + 10
    stored = 0
    with pytest.raises(StorageFull, match="free some disk space"):  # noqa: PT012 - which of them fails is not known
        for number in range(1, 100):
            turns.commit(_turn(number))
            stored = number
    assert 0 < stored < 99
    latest = turns.latest()
    assert latest is not None
    assert (latest.number, latest.state) == (stored, {"n": stored})
    with pytest.raises(StorageFull):
        turns.wish(T0, "retrain", {"why": "y" * 50_000})
    assert list(turns.open_wishes()) == []
    pages = 100_000
    turns.commit(_turn(stored + 1))
    latest = turns.latest()
    assert latest is not None
    assert latest.number == stored + 1
    assert len(turns.newest_decisions(1000)) == stored + 1
