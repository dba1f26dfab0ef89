"""Runs in many ledger files, a loop each, of which only those used last are open: an engine holds memory and files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord

_MOST_OPEN = 32


class LedgerFiles:
    """The open ones. Safe for several threads: one that is closed while another thread uses it opens anew."""

    def __init__(self, most_open: int = _MOST_OPEN) -> None:
        self._most_open = most_open
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, SqlRuns] = OrderedDict()  # longest unused first

    def runs(self, file: Path) -> RunStore:
        """The runs of this ledger; made if it is not there. Raises StorageFull or TrimtabError, and so does its use."""
        self.opened(file)
        return _FileRuns(self, file)

    def opened(self, file: Path) -> SqlRuns:
        """Its store, as long as it stays open."""
        with self._lock:
            known = self._open.pop(file, None)
        if known is None:
            known = SqlRuns(ledger_engine(file))
        with self._lock:
            self._open[file] = known
            gone = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - self._most_open)]
        for one in gone:
            one.close()
        return known


class _FileRuns(RunStore):
    def __init__(self, files: LedgerFiles, file: Path) -> None:
        self._files, self._file = files, file

    def save_run(self, run: RunRecord) -> None:
        self._files.opened(self._file).save_run(run)

    def save_task(self, task: TaskRecord) -> None:
        self._files.opened(self._file).save_task(task)

    def run(self, run_id: str) -> RunRecord | None:
        return self._files.opened(self._file).run(run_id)

    def runs(self, limit: int = 100) -> Sequence[RunRecord]:
        return self._files.opened(self._file).runs(limit)

    def tasks(self, run_id: str) -> Sequence[TaskRecord]:
        return self._files.opened(self._file).tasks(run_id)

    def cached(self, cache_key: str) -> TaskRecord | None:
        return self._files.opened(self._file).cached(cache_key)
