"""The ledger's SQLite file, opened so that a kill loses nothing that was committed and a full disk is said plainly."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import ExceptionContext

from trimtab.errors import StorageFull, TrimtabError

BUSY_MILLISECONDS = 10_000


def ledger_engine(path: Path) -> sa.Engine:
    """An engine on the ledger file, made if it is not there. Raises StorageFull or TrimtabError, as its use does later.

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
