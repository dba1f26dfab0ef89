"""Runs and tasks in the ledger database (SQLite here, PostgreSQL on a cluster)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from trimtab.adapters.sql import JSON, TEXT, make_tables
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord

_schema = sa.MetaData()

_runs = sa.Table(
    "runs",
    _schema,
    sa.Column("run_id", sa.String(120), primary_key=True),
    sa.Column("pipeline", sa.String(200), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("started", sa.String(40), nullable=False, index=True),
    sa.Column("ended", sa.String(40)),
    sa.Column("parameters", JSON, nullable=False),
    sa.Column("output", JSON),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
)

_tasks = sa.Table(
    "tasks",
    _schema,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String(120), nullable=False),
    sa.Column("path", TEXT, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("saved", sa.BigInteger, nullable=False),
    sa.Column("started", sa.String(40)),
    sa.Column("ended", sa.String(40)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("inputs", JSON, nullable=False),
    sa.Column("outputs", JSON, nullable=False),
    sa.Column("log", TEXT, nullable=False),
    sa.Column("exit_reason", TEXT, nullable=False),
    sa.Column("cache_key", sa.String(64), nullable=False, index=True),
    sa.UniqueConstraint("run_id", "path"),
)


class SqlRuns(RunStore):
    """RunStore in a database. Safe to use from several threads and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        make_tables(engine, _schema)
        # Built once: SQLAlchemy takes longer to build such a statement than SQLite to run it.
        self._save_run = _upsert(engine, _runs, "run_id")
        self._save_task = _upsert(engine, _tasks, "run_id", "path")

    def close(self) -> None:
        """Let go of its connections; it may be used again."""
        self._engine.dispose()

    def save_run(self, run: RunRecord) -> None:
        """Insert or replace the run."""
        row = {
            "pipeline": run.pipeline,
            "state": run.state,
            "started": _text(run.started),
            "ended": _text(run.ended),
            "parameters": dict(run.parameters),
            "output": run.output,
            "reason": run.reason,
            "pid": run.pid,
        }
        with self._engine.begin() as connection:
            connection.execute(self._save_run, {"run_id": run.run_id, **row})

    def save_task(self, task: TaskRecord) -> None:
        """Insert or replace the task."""
        row = {
            "state": task.state,
            "saved": time.time_ns(),
            "started": _text(task.started),
            "ended": _text(task.ended),
            "attempt": task.attempt,
            "inputs": dict(task.inputs),
            "outputs": dict(task.outputs),
            "log": task.log,
            "exit_reason": task.exit_reason,
            "cache_key": task.cache_key,
        }
        with self._engine.begin() as connection:
            connection.execute(self._save_task, {"run_id": task.run_id, "path": task.path, **row})

    def run(self, run_id: str) -> RunRecord | None:
        """The run, or None."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_runs).where(_runs.c.run_id == run_id)).first()
        return None if row is None else _run(row)

    def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        """Runs, newest first."""
        query = sa.select(_runs).order_by(_runs.c.started.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [_run(row) for row in connection.execute(query)]

    def tasks(self, run_id: str) -> Sequence[TaskRecord]:
        """The run's tasks in the order they were first saved."""
        query = sa.select(_tasks).where(_tasks.c.run_id == run_id).order_by(_tasks.c.number)
        with self._engine.connect() as connection:
            return [_task(row) for row in connection.execute(query)]

    def cached(self, cache_key: str) -> TaskRecord | None:
        """The task that succeeded last with this key."""
        if not cache_key:
            return None
        wanted = (_tasks.c.cache_key == cache_key) & (_tasks.c.state == "SUCCEEDED")
        query = sa.select(_tasks).where(wanted).order_by(_tasks.c.saved.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _task(row)


def _upsert(engine: sa.Engine, table: sa.Table, *key: str) -> Any:
    insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    names = [column.name for column in table.columns if column.name not in {*key, "number"}]
    statement = insert(table).values({name: sa.bindparam(name) for name in (*key, *names)})
    return statement.on_conflict_do_update(
        index_elements=list(key), set_={name: statement.excluded[name] for name in names}
    )


def _run(row: Any) -> RunRecord:
    return RunRecord(
        run_id=row.run_id,
        pipeline=row.pipeline,
        state=row.state,
        started=datetime.fromisoformat(row.started),
        ended=_time(row.ended),
        parameters=row.parameters,
        output=row.output,
        reason=row.reason,
        pid=row.pid,
    )


def _task(row: Any) -> TaskRecord:
    return TaskRecord(
        run_id=row.run_id,
        path=row.path,
        state=row.state,
        started=_time(row.started),
        ended=_time(row.ended),
        attempt=row.attempt,
        inputs=row.inputs,
        outputs=row.outputs,
        log=row.log,
        exit_reason=row.exit_reason,
        cache_key=row.cache_key,
    )


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
