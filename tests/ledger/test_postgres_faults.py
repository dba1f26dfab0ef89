"""A PostgreSQL that dies, hangs, fills up or lets nobody in: a sentence, no half turn, no password, and it goes on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from test_postgres_contracts import NOON, Connect

from trimtab.adapters.sql import ledger_engine
from trimtab.adapters.turns.sql import SqlTurns
from trimtab.errors import Refused, StorageFull, TrimtabError
from trimtab.ports.turns import Turn
from trimtab.testing.postgres_server import PASSWORD, PostgresServer


def _turn(number: int) -> Turn:
    return Turn(number, NOON, {"n": number}, {}, [{"kind": "hold", "n": number}])


def _once(engine: sa.Engine, after: str, fault: Callable[[sa.Connection], object]) -> None:
    """Let the fault happen once, in the middle of a transaction: after the first statement of that kind."""
    left = [fault]

    def happen(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(after) and left:
            left.pop()(connection)

    sa.event.listen(engine, "after_cursor_execute", happen)


def _backend(connection: sa.Connection) -> int:
    with connection.connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        found = cursor.fetchone()
    assert found is not None
    return int(found[0])


def _stays_whole(store: SqlTurns, wish: int, error: type[TrimtabError], words: str) -> None:
    """The turn fails with these words and leaves nothing behind."""
    with pytest.raises(error, match=words):
        store.commit(_turn(2), [wish])


def _goes_on(store: SqlTurns, wish: int) -> None:
    """Nothing of the failed turn is there, and the very same turn can be committed."""
    assert store.latest() == _turn(1)
    assert [one.number for one in store.open_wishes()] == [wish]
    store.commit(_turn(2), [wish])
    assert store.latest() == _turn(2)
    assert list(store.open_wishes()) == []


@pytest.mark.parametrize("after", ["INSERT INTO turns", "UPDATE wishes"])
def test_a_connection_killed_in_the_middle_leaves_no_half_turn(
    server: PostgresServer, connect: Connect, after: str
) -> None:
    engine = connect()
    store = SqlTurns(engine, "loop")
    store.commit(_turn(1))
    wish = store.wish(NOON, "retrain", {})
    _once(engine, after, lambda found: server.admin(f"SELECT pg_terminate_backend({_backend(found)}, 5000)"))
    _stays_whole(store, wish, TrimtabError, r"ledger\d+ on 127.0.0.1:\d+ does not answer .*repeated once it answers")
    _goes_on(store, wish)


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill -9"])
def test_a_server_that_dies_in_the_middle_leaves_no_half_turn(
    server: PostgresServer, connect: Connect, mode: str
) -> None:
    engine = connect()
    store = SqlTurns(engine, "loop")
    store.commit(_turn(1))
    wish = store.wish(NOON, "retrain", {})
    _once(engine, "INSERT INTO turns", lambda _: server.kill() if mode == "kill -9" else server.stop(mode))
    try:
        _stays_whole(store, wish, TrimtabError, "does not answer")
        began = time.monotonic()
        for _ in range(3):  # it is down for a while
            with pytest.raises(TrimtabError, match=r"does not answer .*check that it runs"):
                store.latest()
        assert time.monotonic() - began < 10
        with pytest.raises(TrimtabError, match="does not answer"):
            connect()
    finally:
        server.start()
    _goes_on(store, wish)


def test_a_restart_between_two_turns_is_not_even_noticed(server: PostgresServer, connect: Connect) -> None:
    store = SqlTurns(connect(), "loop")
    store.commit(_turn(1))
    server.stop()
    server.start()
    store.commit(_turn(2))
    assert store.latest() == _turn(2)


def test_a_lock_that_is_never_given_is_given_up(server: PostgresServer, connect: Connect) -> None:
    patient, other = connect(wait_seconds=0.3), connect()
    store = SqlTurns(patient, "loop")
    store.commit(_turn(1))
    wish = store.wish(NOON, "retrain", {})
    with other.begin() as held:
        held.execute(sa.text("LOCK TABLE turns IN ACCESS EXCLUSIVE MODE"))
        _stays_whole(store, wish, TrimtabError, "look at pg_stat_activity")
    _goes_on(store, wish)


def test_a_full_disk_of_the_server_is_told_as_one(server: PostgresServer, connect: Connect, database: str) -> None:
    store = SqlTurns(connect(), "loop")
    store.commit(_turn(1))
    wish = store.wish(NOON, "retrain", {})
    # what the server answers to a write without room
    server.admin(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$",
        database,
    )
    server.admin("CREATE TRIGGER full_disk AFTER INSERT ON turns EXECUTE FUNCTION full_disk()", database)
    _stays_whole(store, wish, StorageFull, r"could not extend file \(53100\): free some disk space there")
    server.admin("DROP TRIGGER full_disk ON turns", database)
    _goes_on(store, wish)


def test_a_standby_is_told_as_one(server: PostgresServer, connect: Connect, database: str) -> None:
    SqlTurns(connect(), "loop").commit(_turn(1))
    server.admin(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    store = SqlTurns(connect(), "loop")
    assert store.latest() == _turn(1)
    with pytest.raises(TrimtabError, match=r"\(25006\): it only reads .*point the URL at the primary"):
        store.commit(_turn(2))


def _never(_: PostgresServer) -> None:
    pass


@pytest.mark.parametrize(
    ("changed", "words", "before"),
    [
        ({"password": PASSWORD + "x"}, "lets nobody in .*check user, password and database", _never),
        ({"user": "stranger"}, "lets nobody in .*check user, password and database", _never),
        ({"database": "nowhere"}, '"nowhere" does not exist.*check user, password and database', _never),
        ({}, "does not answer", PostgresServer.stop),
    ],
)
def test_who_is_not_let_in_is_told_why_without_the_password(
    server: PostgresServer, changed: dict[str, str], words: str, before: Callable[[PostgresServer], None]
) -> None:
    before(server)
    try:
        with pytest.raises(TrimtabError, match=words) as caught:
            ledger_engine(server.url(**changed))
    finally:
        if before is not _never:
            server.start()
    whole = "".join(traceback.format_exception(caught.value))
    assert str(caught.value) in whole
    _no_secret(whole)


@pytest.mark.parametrize("url", [f"mysql://owner:{PASSWORD}@host/x", f"post gres://owner:{PASSWORD}@h", PASSWORD])
def test_a_url_of_something_else_is_refused_without_the_password(url: str) -> None:
    with pytest.raises(Refused, match="postgresql://") as caught:
        ledger_engine(url)
    _no_secret("".join(traceback.format_exception(caught.value)))


def _no_secret(text: str) -> None:
    for written in (PASSWORD, sa.engine.url.quote_plus(PASSWORD), sa.engine.url.quote(PASSWORD, safe="")):
        assert written not in text
