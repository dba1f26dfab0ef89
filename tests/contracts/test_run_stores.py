"""The RunStore suite over memory and SQLite, and what only a file can show."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.runs.files import LedgerFiles
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.errors import StorageFull, TrimtabError
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord
from trimtab.testing.run_stores import RunStoreSuite


class TestMemoryRuns(RunStoreSuite):
    @pytest.fixture
    def store(self) -> MemoryRuns:
        return MemoryRuns()


class TestSqlRuns(RunStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqlRuns:
        return SqlRuns(ledger_engine(tmp_path / "deep" / "ledger.db"))


class TestLedgerFiles(RunStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> RunStore:
        return LedgerFiles(most_open=0).runs(tmp_path / "ledger.db")  # opened anew for each call


def open_files() -> set[str]:
    """Of this process."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(f"{one.name} {one.readlink()}")
    return found


def _run(name: str, **more: Any) -> RunRecord:
    return RunRecord(name, "p", "RUNNING", datetime(2001, 2, 3, tzinfo=UTC), **more)


def test_another_process_reads_what_was_saved(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    SqlRuns(ledger_engine(ledger)).save_run(_run("r"))
    assert SqlRuns(ledger_engine(ledger)).run("r") == _run("r")


def test_of_many_ledgers_only_a_few_are_open_and_each_answers_for_itself(tmp_path: Path) -> None:
    files = LedgerFiles(most_open=3)
    stores = {f"r{number}": files.runs(tmp_path / f"{number}.db") for number in range(12)}
    before = open_files()
    for name, store in stores.items():
        store.save_run(_run(name))
    assert len(open_files() - before) <= 3 * 3  # the file, its journal and the journal's index
    assert all([one.run_id for one in store.runs()] == [name] for name, store in stores.items())


def test_the_ledger_is_in_wal_mode_with_a_busy_timeout(tmp_path: Path) -> None:
    with ledger_engine(tmp_path / "ledger.db").connect() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}


def test_a_file_that_is_no_ledger_is_refused_with_what_to_do(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    ledger.write_bytes(b"this is no database, but long enough to look like one" * 100)
    with pytest.raises(TrimtabError, match=r"ledger .* is damaged .*put a copy back"):
        ledger_engine(ledger)


def test_a_ledger_damaged_later_is_said_plainly(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    store = SqlRuns(ledger_engine(ledger))
    for number in range(200):
        store.save_task(TaskRecord("r", f"t{number}", "SUCCEEDED", inputs={"x": "y" * 500}))
    with sqlite3.connect(ledger) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(ledger.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    ledger.write_bytes(content)
    with pytest.raises(TrimtabError, match="is damaged"):
        SqlRuns(ledger_engine(ledger)).tasks("r")


def test_a_folder_that_cannot_be_made_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrimtabError, match="cannot open the ledger"):
        ledger_engine(tmp_path / "file" / "ledger.db")


# No file of the process may grow past the limit: what a full disk does to SQLite, without filling a disk.
_FILLER = """
import resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.errors import StorageFull
from trimtab.ports.runs import TaskRecord
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqlRuns(ledger_engine(Path(sys.argv[1])))
store.save_task(TaskRecord("r", "before", "SUCCEEDED"))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    for number in range(1000):
        store.save_task(TaskRecord("r", f"t{number}", "SUCCEEDED", inputs={"x": "y" * 20_000}))
        print(number, flush=True)
except StorageFull as error:
    sys.exit(f"full: {error}")
"""


def test_a_full_disk_is_said_plainly_and_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", _FILLER, str(ledger)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("full: the ledger")
    assert "free some disk space" in done.stderr
    saved = [task.path for task in SqlRuns(ledger_engine(ledger)).tasks("r")]
    assert saved == ["before", *(f"t{number}" for number in done.stdout.split())]
    assert len(saved) > 2


def test_storage_full_is_an_error_of_ours() -> None:
    assert issubclass(StorageFull, TrimtabError)
