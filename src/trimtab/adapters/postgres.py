"""The ledger on a PostgreSQL server, for several controllers: a server that is slow, full or gone is said plainly.

A transaction that was broken off leaves nothing behind, and every turn and run can be repeated from what was committed.
No message holds more of the URL than host, port and database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, ExceptionContext

from trimtab.errors import Refused, StorageFull, TrimtabError

CONNECT_SECONDS = 5
WAIT_SECONDS = 20.0
# Tables are made by one process at a time: of two that try at once PostgreSQL refuses the second with a riddle.
_MAKING_TABLES = 0x7472696D746162

_NO_SERVER = "check that it runs and can be reached from here; what was under way is repeated once it answers"
_LET_IN = "check user, password and database in the URL's secret, and the server's pg_hba.conf"
_ADVICE = {
    "25006": "it only reads (a standby, or set to read-only): point the URL at the primary",
    "42501": "give the URL's user the rights to create and write tables in the schema",
    "53100": "free some disk space there; writing goes on by itself",
    "53300": "it has no connection to spare: raise max_connections, or close some",
    "55P03": "another transaction holds the table or row; look at pg_stat_activity",
    "57014": "it took too long and was stopped; look at pg_stat_activity",
}
_SCHEMA = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_REFUSED = re.compile(r"FATAL: .*(authentication|password|pg_hba|role|database \"|permission)")


def postgres_engine(url: URL, wait_seconds: float = WAIT_SECONDS) -> sa.Engine:
    """An engine on the database, through psycopg 3. Raises Refused for another driver, TrimtabError without a server.

    A statement or a lock that takes longer than `wait_seconds` is given up, so that a stuck server holds up no turn
    for ever; a server that vanished without a word (no reset) is noticed by TCP in about the same time.
    """
    if url.drivername not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise Refused(
            f"the ledger's URL names {url.drivername}; trimtab keeps ledgers in postgresql:// (or a SQLite file)"
        )
    schema = url.query.get("schema", "")
    if not isinstance(schema, str) or (schema and not _SCHEMA.fullmatch(schema)):
        raise Refused("the ledger's URL: schema must be one name of at most 63 of a-z, 0-9, - and _")
    url = url.difference_update_query(["schema"])
    place = _place(url)
    milliseconds = max(1, int(wait_seconds * 1000))
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,  # a connection that a restart of the server broke is replaced before it is used
            pool_recycle=1800,
            pool_timeout=wait_seconds,
            connect_args=_connecting(url, milliseconds),
        )
    except ModuleNotFoundError:
        raise TrimtabError(
            f"the ledger {place} needs the driver psycopg, which is not installed: pip install 'trimtab[cluster]'"
        ) from None
    sa.event.listen(engine, "connect", lambda connection, _: _prepare(connection, milliseconds))
    sa.event.listen(engine, "handle_error", lambda context: _explain(context, place))
    with engine.connect():
        return engine.execution_options(schema_translate_map={None: schema}) if schema else engine


def one_at_a_time(connection: sa.Connection) -> None:
    """Wait until nobody else makes tables, until the end of the transaction."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MAKING_TABLES})


def _connecting(url: URL, milliseconds: int) -> Mapping[str, Any]:
    wanted = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "trimtab",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": milliseconds,
        "prepare_threshold": None,  # prepared statements do not survive a connection pooler such as PgBouncer
    }
    return {key: value for key, value in wanted.items() if key not in url.query}


def _prepare(connection: Any, milliseconds: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = {milliseconds}")
        cursor.execute(f"SET lock_timeout = {milliseconds}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {3 * milliseconds}")
    connection.commit()


def _place(url: URL) -> str:
    """Host and database: what a person needs, and nothing secret."""
    host = url.host or url.query.get("host") or "its default host"
    return f"{url.database or 'postgres'} on {host}:{url.port or 5432}"


def _explain(context: ExceptionContext, place: str) -> None:
    import psycopg

    error = context.original_exception
    if not isinstance(error, psycopg.Error) or isinstance(error, psycopg.IntegrityError) or context.is_pre_ping:
        return
    state = error.sqlstate or ""
    if not state and _REFUSED.search(str(error)):  # what is said while connecting comes without its code
        raise TrimtabError(f"the ledger {place} lets nobody in ({_said(error)}): {_LET_IN}") from None
    if not state or state.startswith(("08", "57P")):  # no server, or one that is going down or coming up
        raise TrimtabError(f"the ledger {place} does not answer ({_said(error)}): {_NO_SERVER}") from None
    advice = next((text for code, text in _ADVICE.items() if state.startswith(code)), "look at the server's log")
    kind = StorageFull if state == "53100" else TrimtabError
    raise kind(f"the ledger {place} says: {_said(error)} ({state}): {advice}") from None


def _said(error: Exception) -> str:
    """The first line; further ones may repeat the statement and its values, or what was connected with."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
