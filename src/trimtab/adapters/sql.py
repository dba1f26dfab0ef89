"""The ledger's database: a SQLite file, opened so that a kill loses nothing that was committed, or a PostgreSQL URL."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import ExceptionContext, make_url

from trimtab.adapters.postgres import one_at_a_time, postgres_engine
from trimtab.errors import Refused, StorageFull, TrimtabError

BUSY_MILLISECONDS = 10_000
LEDGER_URL = "TRIMTAB_LEDGER_URL"  # in the environment, as it may hold a password: it has no place in a document


class _JsonText(sa.types.TypeDecorator[Any]):
    """JSON as text: PostgreSQL's own types refuse NaN and NUL, which a task may well give as its result."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:  # noqa: ARG002 - SQLAlchemy's signature
        return json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else json.loads(value)


class _PlainText(sa.types.TypeDecorator[str]):
    """Text without what PostgreSQL cannot hold (NUL, lone surrogates), which is shown as a mark: it is for people."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


JSON = sa.JSON().with_variant(_JsonText(), "postgresql")
TEXT = sa.Text().with_variant(_PlainText(), "postgresql")


def make_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Make the tables that are missing; several processes may do so at once."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            one_at_a_time(connection)
            schema = engine.get_execution_options().get("schema_translate_map", {}).get(None)
            # asked first: making one that is there wants a right that a user may lack by then
            if schema and not sa.inspect(connection).has_schema(schema):
                connection.execute(sa.schema.CreateSchema(schema))
        tables.create_all(connection)


def ledger_place(file: Path) -> Path | str:
    """Where the ledger is: the database that TRIMTAB_LEDGER_URL names, else the file."""
    return os.environ.get(LEDGER_URL) or file


def ledger_engine(place: Path | str) -> sa.Engine:
    """An engine on the ledger: a file's path, or a `postgresql://` URL, whose `?schema=NAME` keeps several ledgers of
    one database apart. Raises StorageFull or TrimtabError, and so does its use later; Refused for another URL.
    """
    if isinstance(place, Path):
        return _sqlite_engine(place)
    try:
        url = make_url(place)
    except (sa.exc.ArgumentError, ValueError):  # its own words would show the URL with its password
        raise Refused("the ledger's URL is none; expected one such as postgresql://user@host/database") from None
    return postgres_engine(url)


def _sqlite_engine(path: Path) -> sa.Engine:
    """Made if it is not there.

    WAL: readers never wait for the writer. synchronous=NORMAL: a commit survives the death of any process and the file
    is never corrupted; only a power cut may undo the last commits, and every turn and run can be repeated from the
    state before them. FULL would cost an fsync for every change of a task.
    """
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_MILLISECONDS / 1000})
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "handle_error", lambda context: _explain(context, path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT count(*) FROM sqlite_master"))
    except (OSError, sa.exc.DatabaseError) as error:
        raise TrimtabError(f"cannot open the ledger {path}: {error}") from error
    return engine


def _prepare(connection: sqlite3.Connection, _: Any) -> None:
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _explain(context: ExceptionContext, path: Path) -> None:
    error = context.original_exception
    if not isinstance(error, sqlite3.Error):
        return
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        raise StorageFull(
            f"the ledger {path} could not be written ({error}): free some disk space and start again"
        ) from error
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        raise TrimtabError(
            f"the ledger {path} is damaged ({error}): put a copy back, or move it away to begin anew"
        ) from error
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        raise TrimtabError(f"the ledger {path} cannot be written ({error}): mend its permissions") from error
    if code == sqlite3.SQLITE_BUSY:
        raise TrimtabError(
            f"the ledger {path} is held by another process for more than {BUSY_MILLISECONDS // 1000} s"
        ) from error
