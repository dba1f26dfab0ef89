"""The record log contract over every adapter."""

from pathlib import Path

import pytest

from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.memory import MemoryRecords
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.testing.record_logs import Log, RecordLogSuite


class TestMemory(RecordLogSuite):
    @pytest.fixture
    def log(self) -> Log:
        records = MemoryRecords(PREDICTIONS)
        return Log(records, records)


class TestFolder(RecordLogSuite):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Log:
        folder = RecordFolder(tmp_path, PREDICTIONS)
        return Log(Journal(tmp_path, "server"), folder, folder.compact)


class TestFolderOfTinySegments(RecordLogSuite):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Log:
        folder = RecordFolder(tmp_path, PREDICTIONS)
        return Log(Journal(tmp_path, "server", segment_bytes=1, reserved_bytes=1), folder, folder.compact)
