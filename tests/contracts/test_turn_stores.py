"""The turn store contract over every adapter."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from trimtab.adapters.turns.memory import MemoryTurns
from trimtab.adapters.turns.sql import SqlTurns
from trimtab.testing.turn_stores import TurnStoreSuite


class TestMemory(TurnStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryTurns:
        return MemoryTurns()


class TestSqlite(TurnStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqlTurns:
        return SqlTurns(sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}"), "loop")

    def test_loops_in_one_database_do_not_see_each_other(self, tmp_path: Path) -> None:
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
        one, other = SqlTurns(engine, "one"), SqlTurns(engine, "other")
        number = one.wish(_time(), "retrain", {})
        assert other.latest() is None
        assert [wish.number for wish in one.open_wishes()] == [number]
        assert list(other.open_wishes()) == []


def _time():
    from datetime import UTC, datetime

    return datetime(2001, 1, 1, tzinfo=UTC)
