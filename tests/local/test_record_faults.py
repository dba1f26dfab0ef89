"""The prediction log under kill -9, a full disk, concurrent compaction and files that are none of its own."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import resource
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from trimtab.adapters.records import journal as journals
from trimtab.adapters.records.journal import Journal, seal_orphans
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.errors import StorageFull
from trimtab.testing.record_logs import ALWAYS, ids, record

pytestmark = pytest.mark.local
_DAY = datetime(2001, 2, 3, tzinfo=UTC)


def folder(path: Path) -> RecordFolder:
    return RecordFolder(path, PREDICTIONS)


@contextlib.contextmanager
def writer(path: Path, stem: str, segment_bytes: int = 1 << 25) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(Path(__file__).with_name("journal_writer.py")), str(path), stem, str(segment_bytes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def acknowledged(process: subprocess.Popen[bytes], lines: int) -> list[str]:
    """Read so many names, kill the writer, and read what it still said."""
    said = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    said += process.stdout.readlines()
    process.wait(30)
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


def test_kill_9_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    generator, wanted = random.Random(5), []
    for life in range(6):
        with writer(tmp_path, f"w{life}", segment_bytes=generator.choice([20_000, 1 << 25])) as process:
            wanted += acknowledged(process, generator.randrange(1, 2000))
        found = Counter(ids(folder(tmp_path).read(*ALWAYS)))
        assert set(wanted) <= set(found)
        assert len(found) - len(wanted) <= 3 * (life + 1), "at most the records of one append a life were not said yet"
        assert max(found.values()) == 1
        if life % 2:
            folder(tmp_path).compact()
            assert Counter(ids(folder(tmp_path).read(*ALWAYS))) == found


def test_a_torn_last_line_is_dropped_and_what_is_before_it_is_kept(tmp_path: Path) -> None:
    written = Journal(tmp_path, "server")
    written.append([record(str(number)) for number in range(3)])
    written.close()
    (segment,) = (tmp_path / "journal").iterdir()
    content = segment.read_bytes()
    second = content.index(b"\n", content.index(b"\n") + 1) + 1
    for cut in range(second, len(content) + 1, 7):
        for room in (b"", b"\0" * 100):
            segment.write_bytes(content[:cut] + room)
            whole = 3 if cut == len(content) else 2
            assert len(ids(folder(tmp_path).read(*ALWAYS))) == whole
    segment.write_bytes(content[: second + 20])
    assert folder(tmp_path).compact() == 1
    assert ids(folder(tmp_path).read(*ALWAYS)) == ["0", "1"]


class Died(BaseException):
    """In place of kill -9: nothing catches it."""


@pytest.mark.parametrize("step", range(12))
def test_a_compaction_that_dies_at_any_step_neither_loses_nor_doubles(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Journal(tmp_path, "server")
    written.append([record(f"{day}", _DAY + timedelta(days=day)) for day in range(3)])
    written.close()
    wanted = ["0", "1", "2"]
    left = [step]

    def dying(original):
        def run(*arguments, **options):
            if left[0] == 0:
                raise Died
            left[0] -= 1
            return original(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        for name in ("mkdir", "replace", "unlink"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        patch.setattr(pq, "write_table", dying(pq.write_table))
        with contextlib.suppress(Died):
            folder(tmp_path).compact()
    assert ids(folder(tmp_path).read(*ALWAYS)) == wanted
    folder(tmp_path).compact()
    assert ids(folder(tmp_path).read(*ALWAYS)) == wanted
    assert list((tmp_path / "journal").iterdir()) == []
    assert len(list(tmp_path.glob("day=*/*.parquet"))) == 3


def test_a_reader_beside_writer_and_compaction_sees_each_record_once(tmp_path: Path) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def compact() -> None:
        try:
            while not stop.is_set():
                folder(tmp_path).compact()
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    compacting = threading.Thread(target=compact)
    compacting.start()
    try:
        written, known = Journal(tmp_path, "server", segment_bytes=2000), 0
        for number in range(250):
            written.append([record(f"{number}-{part}", _DAY + timedelta(days=number % 4)) for part in range(3)])
            known += 3
            if number % 5 == 0:
                found = Counter(ids(folder(tmp_path).read(*ALWAYS)))
                assert sum(found.values()) == len(found) == known
    finally:
        stop.set()
        compacting.join(60)
    assert failed == []


def test_a_segment_taken_for_an_orphan_before_it_is_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, once = journals.fcntl.flock, [True]

    def late(descriptor: int, how: int) -> None:
        if how == journals.fcntl.LOCK_EX and once.pop() if once else False:
            seal_orphans(tmp_path)  # the log writer comes by between opening and locking
        original(descriptor, how)

    monkeypatch.setattr(journals.fcntl, "flock", late)
    written = Journal(tmp_path, "server")
    written.append([record("one")])
    assert once == []
    folder(tmp_path).compact()
    written.append([record("two")])
    assert ids(folder(tmp_path).read(*ALWAYS)) == ["one", "two"]


@contextlib.contextmanager
def file_limit(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond it, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_whole_appends_and_takes_them_again_when_there_is_room(tmp_path: Path) -> None:
    written = Journal(tmp_path, "server", reserved_bytes=4096)
    taken = []
    with file_limit(50_000):
        for number in range(400):
            try:
                written.append([record(f"{number}-{part}") for part in range(3)])
            except StorageFull as error:
                assert "Make room on that disk" in str(error)  # noqa: PT017 - it may come at any of the appends
            else:
                taken += [f"{number}-{part}" for part in range(3)]
        assert 0 < len(taken) < 1200
        assert ids(folder(tmp_path).read(*ALWAYS)) == sorted(taken)
    written.append([record("after")])
    written.close()
    folder(tmp_path).compact()
    assert ids(folder(tmp_path).read(*ALWAYS)) == sorted([*taken, "after"])


def test_a_disk_that_fills_while_sealing_or_half_way_through_a_write_is_storage_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Journal(tmp_path, "server", segment_bytes=300)
    written.append([record("one")])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", full)
        with pytest.raises(StorageFull, match="No space left"):
            written.append([record("two"), record("three")])
    write = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda where, data, at: write(where, data[: len(data) * 2 // 3], at))
        with pytest.raises(StorageFull):
            written.append([record("four"), record("five")])
    assert ids(folder(tmp_path).read(*ALWAYS)) == ["one"]
    written.append([record("six")])
    written.close()
    folder(tmp_path).compact()
    assert ids(folder(tmp_path).read(*ALWAYS)) == ["one", "six"]


def test_a_full_disk_while_compacting_leaves_all_in_the_journal(tmp_path: Path) -> None:
    written = Journal(tmp_path, "server")
    written.append([record(str(number), features=os.urandom(400).hex()) for number in range(300)])
    written.close()
    with file_limit(4096), pytest.raises(StorageFull, match="It stays where it is"):
        folder(tmp_path).compact()
    assert len(ids(folder(tmp_path).read(*ALWAYS))) == 300
    assert folder(tmp_path).compact() == 1
    assert len(ids(folder(tmp_path).read(*ALWAYS))) == 300


def test_foreign_files_and_damaged_lines_are_named_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for stem in ("a", "z"):
        written = Journal(tmp_path, stem)
        written.append([record(stem), record(f"{stem}2")])
        written.close()
    first = next((tmp_path / "journal").glob("a-*"))
    lines = first.read_bytes().split(b"\n")
    bad = [
        b'{"id":',
        b"[1]",
        b'{"id": "no time"}',
        b'{"id": 7, "time": "2001-02-03"}',
        b'{"time": "yesterday"}',
        b"\xff",
    ]
    first.write_bytes(b"\n".join([lines[0], *bad, lines[1], b""]))
    (tmp_path / "journal" / "notes.txt").write_text("hello")
    (tmp_path / "journal" / "picture.jsonl").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    (tmp_path / "journal" / "folder.jsonl").mkdir()
    (tmp_path / "journal" / "folder.open").mkdir()
    day = tmp_path / "day=2001-02-03"
    day.mkdir()
    (day / "garbage.parquet").write_bytes(b"PAR1 this is none")
    (day / "empty.parquet").touch()
    (tmp_path / "day=someday").mkdir()
    wanted = ["a", "a2", "z", "z2"]
    log = folder(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert ids(log.read(*ALWAYS)) == ids(log.read(*ALWAYS)) == wanted
    told = caplog.text
    assert told.count("garbage.parquet") >= 1
    assert "holds 6 line(s) that are no records" in told
    assert len([line for line in caplog.messages if "garbage.parquet" in line.split()[0]]) == 1, "once, not each time"
    assert log.compact() == 3
    assert ids(folder(tmp_path).read(*ALWAYS)) == wanted
    kept = (tmp_path / "journal" / first.with_suffix(".damaged").name).read_bytes()
    assert all(line in kept for line in bad)
    assert log.compact() == 0
