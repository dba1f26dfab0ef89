"""One PostgreSQL server for the session, a database for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from trimtab.adapters.sql import ledger_engine
from trimtab.testing.postgres_server import BINARIES, MISSING, PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    if BINARIES is None:
        pytest.skip(MISSING)
    made = PostgresServer()
    yield made
    made.close()


@pytest.fixture
def database(server: PostgresServer) -> str:
    """The name of a new, empty one."""
    name = f"ledger{next(_numbers)}"
    server.admin(f"CREATE DATABASE {name}")
    return name


@pytest.fixture
def connect(server: PostgresServer, database: str) -> Iterator[Callable[..., sa.Engine]]:
    """Engines on this test's database, as several controllers have them; all are closed at the end."""
    made: list[sa.Engine] = []

    def build(wait_seconds: float = 10.0) -> sa.Engine:
        from trimtab.adapters.postgres import postgres_engine

        made.append(postgres_engine(sa.make_url(server.url(database)), wait_seconds))
        return made[-1]

    yield build
    for engine in made:
        engine.dispose()


@pytest.fixture
def engine(server: PostgresServer, database: str) -> Iterator[sa.Engine]:
    made = ledger_engine(server.url(database))
    yield made
    made.dispose()
