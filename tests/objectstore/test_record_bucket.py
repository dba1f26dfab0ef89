"""The record log contract with a store behind the folder; what is not shipped yet is read too, and nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from s3_process import KEYS, S3Server

from trimtab.adapters.records.bucket import Kept, RecordBucket, Shipper, SpooledLog
from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.places import record_log
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.errors import Refused, TrimtabError
from trimtab.stages.objects import Objects, Place, place
from trimtab.testing.record_logs import _NOON, ALWAYS, Log, RecordLogSuite, ids, record


class TestSpooledLog(RecordLogSuite):
    @pytest.fixture
    def log(self, tmp_path: Path, bucket: str) -> Log:
        uri = f"s3://{bucket}/deep/predictions"
        folder, shipper = RecordFolder(tmp_path, PREDICTIONS), Shipper(tmp_path, uri)

        def settle() -> None:
            folder.compact()
            _ship(shipper)

        return Log(Journal(tmp_path, "server"), SpooledLog(tmp_path, PREDICTIONS, uri), settle)


class TestBucketOfTinySegments(RecordLogSuite):
    @pytest.fixture
    def log(self, tmp_path: Path, bucket: str) -> Log:
        uri = f"s3://{bucket}"
        folder, shipper = RecordFolder(tmp_path, PREDICTIONS), Shipper(tmp_path, uri)
        writer = Journal(tmp_path, "server", segment_bytes=1, reserved_bytes=1)
        return Log(writer, SpooledLog(tmp_path, PREDICTIONS, uri), lambda: (folder.compact(), _ship(shipper)))


def _ship(shipper: Shipper) -> int:
    return len(list(shipper.ship()))


def _write(folder: Path, *names: str) -> None:
    journal = Journal(folder, "server")
    journal.append([record(name) for name in names])
    journal.close()
    RecordFolder(folder, PREDICTIONS).compact()


def test_what_was_shipped_is_in_the_bucket_alone(tmp_path: Path, bucket: str) -> None:
    _write(tmp_path, "one", "two")
    uri = f"s3://{bucket}/logs"
    shipper = Shipper(tmp_path, uri)
    assert shipper.spooled_bytes() > 0
    assert _ship(shipper) == 1
    assert (shipper.spooled_bytes(), _ship(shipper)) == (0, 0)
    assert not list(tmp_path.rglob("*.parquet"))
    assert ids(RecordBucket(uri, PREDICTIONS).read(*ALWAYS)) == ["one", "two"]
    assert ids(RecordBucket(uri, PREDICTIONS).read(_NOON + timedelta(1), ALWAYS[1])) == []
    ((found, size),) = Objects().under(place(uri))
    assert found.key.startswith("logs/day=2001-02-03/server-")
    assert size > 0


def test_while_the_store_is_down_records_stay_and_are_shipped_later(tmp_path: Path, bucket: str, s3: S3Server) -> None:
    uri = f"s3://{bucket}/logs"
    shipper, reader = Shipper(tmp_path, uri), SpooledLog(tmp_path, PREDICTIONS, uri)
    _write(tmp_path, "before")
    _ship(shipper)
    _write(tmp_path, "during")
    s3.gate.shut()
    try:
        for act in (lambda: _ship(shipper), lambda: reader.read(*ALWAYS)):
            with pytest.raises(TrimtabError, match=r"could not be .*NETWORK_CONNECTION.*AWS_ENDPOINT_URL") as caught:
                act()
            assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
        assert ids(RecordFolder(tmp_path, PREDICTIONS).read(*ALWAYS)) == ["during"]
    finally:
        s3.gate.open()
    assert ids(reader.read(*ALWAYS)) == ["before", "during"]
    assert _ship(shipper) == 1
    assert ids(reader.read(*ALWAYS)) == ["before", "during"]


def test_a_shipment_that_died_before_its_file_was_removed_is_read_once(tmp_path: Path, bucket: str) -> None:
    uri = f"s3://{bucket}/logs"
    _write(tmp_path, "one")
    (path,) = tmp_path.glob("day=*/*.parquet")
    content = path.read_bytes()
    _ship(Shipper(tmp_path, uri))
    path.write_bytes(content)
    assert ids(SpooledLog(tmp_path, PREDICTIONS, uri).read(*ALWAYS)) == ["one"]
    _ship(Shipper(tmp_path, uri))
    assert ids(RecordBucket(uri, PREDICTIONS).read(*ALWAYS)) == ["one"]


def test_a_segment_whose_compaction_died_is_not_shipped_in_part(tmp_path: Path, bucket: str) -> None:
    uri = f"s3://{bucket}/logs"
    journal = Journal(tmp_path, "server")
    journal.append([record("one"), record("two", _NOON + timedelta(days=1))])
    journal.close()
    (segment,) = (tmp_path / "journal").iterdir()
    content = segment.read_bytes()
    RecordFolder(tmp_path, PREDICTIONS).compact()
    next(tmp_path.glob("day=2001-02-04/*.parquet")).unlink()
    segment.write_bytes(content)  # as it is when it died after the first day
    reader = SpooledLog(tmp_path, PREDICTIONS, uri)
    assert _ship(Shipper(tmp_path, uri)) == 0
    assert ids(reader.read(*ALWAYS)) == ["one", "two"]
    RecordFolder(tmp_path, PREDICTIONS).compact()
    assert _ship(Shipper(tmp_path, uri)) == 2
    assert ids(reader.read(*ALWAYS)) == ["one", "two"]


def test_readers_find_every_record_once_while_it_is_written_compacted_and_shipped(tmp_path: Path, bucket: str) -> None:
    uri = f"s3://{bucket}/logs"
    folder, shipper, reader = RecordFolder(tmp_path, PREDICTIONS), Shipper(tmp_path, uri), None
    reader = SpooledLog(tmp_path, PREDICTIONS, uri)
    written: list[str] = []
    ended = threading.Event()

    def write() -> None:
        journal = Journal(tmp_path, "server")
        for number in range(30):
            journal.append([record(f"{number:03}")])
            written.append(f"{number:03}")
            journal.close()
            folder.compact()
            _ship(shipper)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    looks = 0
    while not ended.is_set():
        known = set(written)
        found = Counter(ids(reader.read(*ALWAYS)))
        assert known <= set(found)
        assert max(found.values(), default=1) == 1
        looks += 1
    thread.join(30)
    assert looks > 2
    assert ids(reader.read(*ALWAYS)) == written


def test_objects_that_are_no_records_are_left_out_and_named(
    tmp_path: Path, bucket: str, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    _write(tmp_path, "one")
    _ship(Shipper(tmp_path, f"s3://{bucket}/logs"))
    for name in ("day=2001-02-03/x.parquet", "day=2001-02-03/notes.txt", "day=2001-02-03/sub/y.parquet", "z.parquet"):
        s3.put(f"{bucket}/logs/{name}", b"no records")
    assert ids(RecordBucket(f"s3://{bucket}/logs", PREDICTIONS).read(*ALWAYS)) == ["one"]
    assert "x.parquet is no Parquet file of this log" in caplog.text


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://key:top-secret@bucket/x", "credentials"),
        ("s3://", "no bucket"),
        ("s3://b", "no bucket"),
        ("/folder", "no bucket"),
        ("s3://bucket/a/../b", "empty part"),
        ("s3://bucket/a//b", "empty part"),
    ],
)
def test_a_uri_that_names_no_place_is_refused(uri: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        place(uri)
    assert "top-secret" not in str(caught.value)


def test_a_missing_bucket_and_object_are_told(tmp_path: Path, bucket: str) -> None:
    _write(tmp_path, "one")
    with pytest.raises(TrimtabError, match=r"s3://nowhere-at-all/.*could not be written .*make the bucket"):
        _ship(Shipper(tmp_path, "s3://nowhere-at-all/logs"))
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
    with pytest.raises(TrimtabError, match="no such object or bucket"):
        Objects().read(Place(bucket, "nothing"))
    assert Objects().size(Place(bucket, "nothing")) is None
    with pytest.raises(TrimtabError, match="no such object or bucket"):
        RecordBucket("s3://nowhere-at-all/logs", PREDICTIONS).read(*ALWAYS)


def test_a_window_that_is_read_again_is_not_brought_again(tmp_path: Path, bucket: str, s3: S3Server) -> None:
    uri = f"s3://{bucket}/logs"
    _write(tmp_path, "one")
    _ship(Shipper(tmp_path, uri))
    reader = RecordBucket(uri, PREDICTIONS)
    assert ids(reader.read(*ALWAYS)) == ["one"]
    ((found, size),) = Objects().under(place(uri))
    s3.put(found.path, b"x" * size)  # of the same size: only a reader that asks again would see it
    assert ids(reader.read(*ALWAYS)) == ["one"]
    assert ids(RecordBucket(uri, PREDICTIONS).read(*ALWAYS)) == ["one"]  # one memory for all logs of a process
    assert ids(RecordBucket(uri, PREDICTIONS, kept=Kept()).read(*ALWAYS)) == []


def test_files_of_all_logs_share_one_bound() -> None:
    kept, table = Kept(most_bytes=2500), pa.table({"x": list(range(100))})  # 800 bytes
    read: list[str] = []

    def fetched(name: str) -> pa.Table:
        read.append(name)
        return table

    for name in ("a", "b", "c", "a", "d", "a", "b"):
        assert kept.table(name, 1, lambda name=name: fetched(name)) is table  # type: ignore[misc]
    assert read == ["a", "b", "c", "d", "b"]  # b was the longest unread when d came


def test_a_place_gets_the_reader_it_needs(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "predictions"
    _write(folder, "shipped")
    _ship(Shipper(folder, f"s3://{bucket}/loop/predictions"))
    _write(folder, "here")
    assert ids(record_log(folder, PREDICTIONS).read(*ALWAYS)) == ["here"]
    assert ids(record_log(f"s3://{bucket}/loop/predictions", PREDICTIONS).read(*ALWAYS)) == ["shipped"]
    monkeypatch.setenv("TRIMTAB_RECORD_STORE", f"s3://{bucket}/loop/")
    assert ids(record_log(str(folder), PREDICTIONS).read(*ALWAYS)) == ["here", "shipped"]
