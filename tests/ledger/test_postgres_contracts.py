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
from postgres_process import PostgresServer

from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine, of_loop
from trimtab.adapters.turns.sql import KEPT_UNDECIDED, SqlTurns
from trimtab.errors import TrimtabError, TurnTaken
from trimtab.ports.runs import RunRecord, TaskRecord
from trimtab.ports.turns import Turn
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


LONG = "x" * 70


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), ("shop/rodents", "field/rodents"), (LONG, LONG + "y"), ('"', "'")]
)
def test_the_runs_of_loops_in_one_database_are_apart(engine: sa.Engine, one: str, other: str) -> None:
    mine, others = SqlRuns(of_loop(engine, one)), SqlRuns(of_loop(engine, other))
    mine.save_run(RunRecord("r", "mine", "RUNNING", NOON))
    mine.save_task(TaskRecord("r", "a", "SUCCEEDED", cache_key="k"))
    assert list(others.runs()) == []
    assert others.cached("k") is None
    others.save_run(RunRecord("r", "others", "FAILED", NOON))
    assert [run.pipeline for run in SqlRuns(of_loop(engine, one)).runs()] == ["mine"]
    turns = SqlTurns(of_loop(engine, one), one)
    turns.commit(Turn(1, NOON, {}))
    with pytest.raises(TurnTaken):
        SqlTurns(of_loop(engine, one), one).commit(Turn(1, NOON, {}))
    assert SqlTurns(of_loop(engine, other), other).latest() is None


def test_tables_that_are_there_need_no_right_to_make_any(
    server: PostgresServer, database: str, engine: sa.Engine
) -> None:
    SqlTurns(of_loop(engine, "loop"), "loop")
    SqlRuns(of_loop(engine, "loop"))
    server.admin("CREATE ROLE writer LOGIN PASSWORD 'w'", database)
    server.admin('GRANT USAGE ON SCHEMA "loop_loop" TO writer', database)
    server.admin('GRANT ALL ON ALL TABLES IN SCHEMA "loop_loop" TO writer', database)
    lesser = ledger_engine(server.url(database, "w", "writer"))
    try:
        store = SqlTurns(of_loop(lesser, "loop"), "loop")
        store.commit(Turn(1, NOON, {}))
        with pytest.raises(TrimtabError, match="rights to create and write tables"):
            SqlTurns(of_loop(lesser, "new"), "new")
    finally:
        lesser.dispose()


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
