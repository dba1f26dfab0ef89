"""The real log writer as a process: kill -9 anywhere loses nothing, doubles nothing."""

import json
import resource
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from serving_processes import GOOD, Process, ask, collector, labels, model_server, predict, predictions, until

from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS
from trimtab.stages import cohort
from trimtab.testing import bundles

pytestmark = pytest.mark.local
Start = Callable[..., Process]
_PATH = "/v1/feedback"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def build(*options: str) -> Process:
        started.append(collector(tmp_path, *options))
        return started[-1]

    yield build
    for process in started:
        process.kill()


def _post(process: Process, body: object, **headers: str) -> tuple[int, dict]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return ask(process.address, "POST", _PATH, json.dumps(body).encode(), headers=named)[:2]


def _record(number: int) -> dict:
    time = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    return {
        "id": f"p{number}",
        "time": time.isoformat(),
        "version": "1",
        "shadow": False,
        "attempt": 1,
        "protocol": "v1",
        "features": json.dumps(GOOD),
        "prediction": "Dipodomys",
        "scores": [0.5, 0.5],
        "latency_ms": 1.0,
    }


def test_killed_with_9_in_the_middle_of_its_work_nothing_is_lost_or_doubled(start: Start, tmp_path: Path) -> None:
    count, segments = 2400, 40
    for segment in range(segments):  # each holds rows of several days
        journal = Journal(tmp_path / "predictions", f"m-v{segment}")
        journal.append([_record(number) for number in range(segment, count, segments)])
        journal.close()
    wanted = Counter(f"p{number}" for number in range(count))
    folder = tmp_path / "predictions"
    kills = 0
    while list((folder / "journal").iterdir()) and kills < 8:
        before = len(list(folder.glob("day=*/*.parquet")))
        process = start("--every", "0.01")
        until(lambda wanted=before + 20 + kills: len(list(folder.glob("day=*/*.parquet"))) > wanted)
        process.kill()
        kills += 1
        assert Counter(record["id"] for record in predictions(tmp_path)) == wanted
    assert kills >= 2, "it was too quick to be killed in the middle"
    process = start("--every", "0.01")
    until(lambda: not list((folder / "journal").iterdir()))
    assert process.terminate() == 0
    assert Counter(record["id"] for record in predictions(tmp_path)) == wanted
    stored = [pq.read_table(path, partitioning=None) for path in folder.glob("day=*/*.parquet")]
    assert sum(table.num_rows for table in stored) == count
    assert not list(folder.glob("day=*/.*"))


def test_labels_that_were_accepted_survive_kill_9(start: Start, tmp_path: Path) -> None:
    accepted: list[str] = []
    for life in range(3):
        process = start("--every", "0.05")

        def send(process: Process = process, life: int = life) -> None:
            number = 0
            while True:
                number += 1
                try:
                    status, _ = _post(process, {"id": f"{life}-{number}", "label": "x"})
                except (OSError, ValueError):
                    return
                assert status == 202
                accepted.append(f"{life}-{number}")

        thread = threading.Thread(target=send)
        thread.start()
        wanted = len(accepted) + 200
        until(lambda wanted=wanted: len(accepted) > wanted)
        process.kill()
        thread.join(20)
    found = Counter(record["id"] for record in labels(tmp_path))
    assert set(accepted) <= set(found)
    assert max(found.values()) == 1


def test_a_stop_leaves_everything_in_parquet_and_ends_with_0(start: Start, tmp_path: Path) -> None:
    made = bundles.make(tmp_path / "bundle")
    server = model_server(tmp_path, made)
    assert predict(server.address, GOOD, request_id="killed")[0] == 200
    server.kill()  # its segment stays open: an orphan
    process = start("--every", "600")
    assert _post(process, {"id": "killed", "label": "Dipodomys"}) == (202, {"accepted": 1})
    assert process.terminate() == 0
    assert process.text() == ""
    for log in ("predictions", "labels"):
        assert list((tmp_path / log / "journal").iterdir()) == []
        assert len(list((tmp_path / log).glob("day=*/*.parquet"))) == 1
    assert [record["id"] for record in predictions(tmp_path)] == ["killed"]


def test_labels_twice_late_and_for_unknown_ids_are_joined_as_they_should(start: Start, tmp_path: Path) -> None:
    made = bundles.make(tmp_path / "bundle")
    server = model_server(tmp_path, made, "--accept-time-header")
    try:
        for id_ in ("once", "twice", "changed", "late", "never"):
            body = json.dumps({"instances": [GOOD]}).encode()
            headers = {"x-request-id": id_, "x-trimtab-time": "2020-01-01T00:00:00Z"}
            assert ask(server.address, "POST", "/v1/models/m:predict", body, headers=headers)[0] == 200
    finally:
        server.kill()
    process = start("--accept-time-header", "--every", "0.05")
    day = {number: f"2020-01-{number:02d}T00:00:00Z" for number in range(1, 32)}
    many = [{"id": id_, "label": "Dipodomys"} for id_ in ("once", "twice", "changed", "stranger")]
    assert _post(process, {"labels": many}, x_trimtab_time=day[5]) == (202, {"accepted": 4})
    assert _post(process, {"id": "twice", "label": "Dipodomys"}, x_trimtab_time=day[6])[0] == 202
    assert _post(process, {"id": "changed", "label": "Onychomys"}, x_trimtab_time=day[7])[0] == 202
    assert _post(process, {"id": "late", "label": "Dipodomys"}, x_trimtab_time=day[20])[0] == 202
    assert process.terminate() == 0
    logs = pd.DataFrame(predictions(tmp_path)), pd.DataFrame(labels(tmp_path))
    found = cohort.join(*logs, datetime(2020, 1, 25, tzinfo=UTC), timedelta(days=10))
    counts = found.counts
    assert (counts.answers, counts.matured, counts.overdue, counts.late) == (5, 4, 1, 1)
    assert (counts.duplicate_labels, counts.changed_labels, counts.unknown_ids) == (1, 1, 1)
    early = cohort.join(*logs, datetime(2020, 1, 8, tzinfo=UTC), timedelta(days=10))
    assert (early.counts.matured, early.counts.early) == (0, 3)


def test_a_full_disk_refuses_labels_until_there_is_room(start: Start, tmp_path: Path) -> None:
    process = start("--every", "0.05")
    most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    many = [{"id": "a" * 250, "label": "x" * 1000}] * 1000
    assert _post(process, {"labels": many})[0] == 202
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, most))
    status, answer = _post(process, {"labels": many})
    assert status == 503
    assert "cannot be written" in answer["error"]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
    assert _post(process, {"id": "b", "label": "y"}) == (202, {"accepted": 1})
    until(lambda: ask(process.address, "GET", "/healthz")[1]["status"] == "ok")
    assert process.terminate() == 0
    assert Counter(record["id"][0] for record in labels(tmp_path)) == {"a": 1000, "b": 1}


def test_a_taken_port_is_told(start: Start, tmp_path: Path) -> None:
    first = start()
    port = first.address.rpartition(":")[2]
    command = ["-m", "trimtab.serving.collector", "--home", str(tmp_path), "--port", port]
    second = Process(tmp_path / "second", command, "/healthz", int(port))
    assert second.popen.wait(30) == 1
    assert f"the collector cannot listen on 127.0.0.1, port {port}" in second.text()
    assert "Traceback" not in second.text()


def test_the_label_log_reads_the_same_before_and_after_parquet(start: Start, tmp_path: Path) -> None:
    process = start("--every", "600")
    labels_sent = [{"id": f"i{number}", "label": value} for number, value in enumerate(["\u0000", "é\n", "", 0, 1e300])]
    assert _post(process, {"labels": labels_sent})[0] == 202
    before = labels(tmp_path)
    assert process.terminate() == 0
    assert labels(tmp_path) == before
    assert [one["label"] for one in before] == ["\u0000", "é\n", "", "0", "1e+300"]
    assert RecordFolder(tmp_path / "labels", LABELS).compact() == 0
