"""One statement that only reads, or a refusal before anything has run.

The database's own parser or rights decide wherever it has any; the words of the text are looked at only beside that.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trimtab.errors import DataRefused

if TYPE_CHECKING:
    from sqlalchemy import Connection

ONE_SELECT = "data.source.query: write one SELECT: a loop reads its source and changes nothing there"
_QUOTED = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \$(\w*)\$.*?\$\1\$ | --[^\n]* | /\*.*?\*/""", re.DOTALL | re.VERBOSE
)
_READING = re.compile(r"[\s(]*(select|with|values|table)\b", re.IGNORECASE)
_WRITING = re.compile(
    r"\b(insert|update|delete|merge|into|drop|alter|create|truncate|copy|call|grant)\b", re.IGNORECASE
)
_READ_ONLY = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
    "mysql": "START TRANSACTION READ ONLY",
    "mariadb": "START TRANSACTION READ ONLY",
}
_SQLITE_READS = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


def refuse_others(query: str) -> None:
    """Raise DataRefused unless the text is one statement that begins as a reading one does."""
    bare = _QUOTED.sub(" ", query).strip().rstrip(";")
    if ";" in bare:
        raise DataRefused(f"{ONE_SELECT}. There is more than one statement in it.")
    if not _READING.match(bare):
        first = bare.split(maxsplit=1)[0][:30].upper() if bare.strip() else "nothing"
        raise DataRefused(f"{ONE_SELECT}. It begins with {first}.")


def begin_reading(connection: Connection, query: str) -> None:
    """Make this transaction one that cannot write; where the dialect knows none, words that write are refused."""
    name = connection.dialect.name
    if name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(_allowed)
    elif name in _READ_ONLY:
        connection.exec_driver_sql(_READ_ONLY[name])
    else:
        word = _WRITING.search(_QUOTED.sub(" ", query))
        if word:
            raise DataRefused(f"{ONE_SELECT}. It has {word[0].upper()} in it; name no column so, or quote the name.")


def opened_sqlite(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)


def _allowed(action: int, *told: str | None) -> int:
    """SQLite asks for leave of each step of a statement before it runs: nothing but reading has it."""
    loads = action == sqlite3.SQLITE_FUNCTION and "load_extension" in told
    return sqlite3.SQLITE_OK if action in _SQLITE_READS and not loads else sqlite3.SQLITE_DENY
