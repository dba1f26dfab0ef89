"""The contracts of turns and runs over a real PostgreSQL, and what only a database for several can show."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.adapters.turns.sql import KEPT_UNDECIDED, SqlTurns
from trimtab.errors import Refused, TrimtabError, TurnTaken
from trimtab.ports.runs import RunRecord, TaskRecord
from trimtab.ports.turns import Turn
from trimtab.testing.postgres_server import PostgresServer
from trimtab.testing.run_stores import RunStoreSuite
from trimtab.testing.turn_stores import TurnStoreSuite

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
Connect = Callable[..., sa.Engine]


class TestTurns(TurnStoreSuite):
    @pytest.fixture
    def store(self, engine: sa.Engine) -> SqlTurns:
        return SqlTurns(engine, "loop")


class TestRuns(RunStoreSuite):
    @pytest.fixture
    def store(self, engine: sa.Engine) -> SqlRuns:
        return SqlRuns(engine)


def test_loops_in_one_database_do_not_see_each_other(engine: sa.Engine) -> None:
    one, other = SqlTurns(engine, "one"), SqlTurns(engine, "other")
    number = one.wish(NOON, "retrain", {})
    one.commit(Turn(1, NOON, {"n": 1}))
    other.commit(Turn(1, NOON, {"n": 2}), answered_wishes=[])
    assert [wish.number for wish in one.open_wishes()] == [number]
    assert list(other.open_wishes()) == []
    assert other.latest() == Turn(1, NOON, {"n": 2}, {}, [])


def test_ledgers_in_schemas_of_one_database_are_apart(server: PostgresServer, database: str) -> None:
    engines = {name: ledger_engine(f"{server.url(database)}{name}") for name in ("", "?schema=one", "?schema=two-2")}
    try:
        for name, engine in engines.items():
            store = SqlRuns(engine)
            assert list(store.runs()) == []
            assert store.cached("k") is None
            store.save_run(RunRecord("r", name, "RUNNING", NOON))
            store.save_task(TaskRecord("r", "a", "SUCCEEDED", cache_key="k"))
            turns = SqlTurns(engine, "loop")
            turns.commit(Turn(1, NOON, {}))
            with pytest.raises(TurnTaken):
                turns.commit(Turn(1, NOON, {}))
        assert [SqlRuns(engine).runs()[0].pipeline for engine in engines.values()] == list(engines)
    finally:
        for engine in engines.values():
            engine.dispose()


@pytest.mark.parametrize("schema", ["a;b", "A", "1", "x" * 64, 'a"b', "one&schema=two"])
def test_a_schema_that_is_no_name_is_refused(server: PostgresServer, schema: str) -> None:
    with pytest.raises(Refused, match="schema must be one name"):
        ledger_engine(f"{server.url()}?schema={schema}")


def test_tables_that_are_there_need_no_right_to_make_any(server: PostgresServer, database: str) -> None:
    owner = ledger_engine(f"{server.url(database)}?schema=mine")
    SqlTurns(owner, "loop")
    SqlRuns(owner)
    owner.dispose()
    server.admin("CREATE ROLE writer LOGIN PASSWORD 'w'", database)
    server.admin("GRANT USAGE ON SCHEMA mine TO writer", database)
    server.admin("GRANT ALL ON ALL TABLES IN SCHEMA mine TO writer", database)
    lesser = server.url(database, "w", "writer")
    engines = [ledger_engine(f"{lesser}?schema={name}") for name in ("mine", "new")]
    try:
        SqlTurns(engines[0], "loop").commit(Turn(1, NOON, {}))
        with pytest.raises(TrimtabError, match="rights to create and write tables"):
            SqlTurns(engines[1], "loop")
    finally:
        for engine in engines:
            engine.dispose()


def test_of_two_controllers_exactly_one_commits_each_turn(connect: Connect) -> None:
    turns, controllers = 25, ("red", "blue", "green")
    stores = {name: SqlTurns(connect(), "loop") for name in controllers}
    wishes = [stores["red"].wish(NOON, "retrain", {"n": number}) for number in range(turns)]
    together = threading.Barrier(len(controllers))
    won: list[tuple[int, str]] = []

    def control(name: str) -> None:
        for number in range(1, turns + 1):
            together.wait(30)
            try:
                stores[name].commit(Turn(number, NOON, {"by": name}, {}, [{"by": name}]), [wishes[number - 1]])
            except TurnTaken:
                continue
            won.append((number, name))

    with ThreadPoolExecutor(len(controllers)) as pool:
        for done in [pool.submit(control, name) for name in controllers]:
            done.result(60)
    assert Counter(number for number, _ in won) == dict.fromkeys(range(1, turns + 1), 1)
    winners = dict(won)
    told = [decision["by"] for decision in stores["blue"].newest_decisions(100)]
    assert told == [winners[number] for number in range(turns, 0, -1)]
    assert list(stores["green"].open_wishes()) == []


def test_several_processes_may_make_the_tables_at_once(connect: Connect) -> None:
    engines = [connect() for _ in range(6)]
    together = threading.Barrier(len(engines))

    def begin(engine: sa.Engine) -> None:
        together.wait(30)
        SqlTurns(engine, "loop")
        SqlRuns(engine)

    with ThreadPoolExecutor(len(engines)) as pool:
        for done in [pool.submit(begin, engine) for engine in engines]:
            done.result(60)


def test_results_that_json_columns_refuse_come_back_whole(engine: sa.Engine) -> None:
    store = SqlRuns(engine)
    odd = {"nan": math.nan, "inf": math.inf, "nul": "a\0b", "half": "\ud800", "big": 10**40}
    run = RunRecord("r", "p", "SUCCEEDED", NOON, output=odd, reason="killed\0 by \udcff")
    store.save_run(run)
    found = store.run("r")
    assert found is not None
    assert isinstance(found.output, dict)
    assert math.isnan(found.output.pop("nan"))
    assert found.output == {key: value for key, value in odd.items() if key != "nan"}
    assert found.reason == "killed\ufffd by ?"
    store.save_task(TaskRecord("r", "a\0b", "FAILED", exit_reason="\0"))
    assert [task.path for task in store.tasks("r")] == ["a\ufffdb"]


def test_old_turns_that_decided_nothing_are_dropped(engine: sa.Engine) -> None:
    store = SqlTurns(engine, "loop")
    for number in (1, 2, 3):
        store.commit(Turn(number, NOON, {}, {}, [{"n": number}] if number == 2 else []))
    store.commit(Turn(2 * KEPT_UNDECIDED, NOON, {}))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT number FROM turns ORDER BY 1")).scalars().all() == [
            2,
            2 * KEPT_UNDECIDED,
        ]
