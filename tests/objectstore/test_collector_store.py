"""The collector with an object store that is down: what was accepted waits, load is shed aloud, all arrives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_process import KEYS, S3Server

from trimtab.adapters.listening import free_port
from trimtab.adapters.records.bucket import RecordBucket, SpooledLog
from trimtab.adapters.records.journal import Journal
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.testing.envoy_world import ask, until
from trimtab.testing.record_logs import ALWAYS, ids, record


class _Collector:
    def __init__(self, home: Path, *options: str) -> None:
        self.home, port = home, free_port()
        self.address = f"127.0.0.1:{port}"
        self.output = home / "collector.log"
        command = ["-m", "trimtab.serving.collector", "--home", str(home), "--port", str(port), "--every", "0.1"]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen([sys.executable, *command, *options], stdout=output, stderr=output)
        until(self._is_ready, 60)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            return self.health()["status"] != ""
        except OSError:
            return False

    def health(self) -> Any:
        return ask(self.address, "GET", "/healthz")[1]

    def label(self, id_: str, label: str = "x") -> tuple[int, Any]:
        body = json.dumps({"id": id_, "label": label}).encode()
        return ask(self.address, "POST", "/v1/feedback", body)[:2]

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.M)
        assert found is not None, text
        return float(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def terminate(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path, bucket: str) -> Iterator[Callable[..., _Collector]]:
    started: list[_Collector] = []

    def build(*options: str) -> _Collector:
        started.append(_Collector(tmp_path, "--store", f"s3://{bucket}/loop", *options))
        return started[-1]

    yield build
    for one in started:
        one.kill()


def _labels(bucket: str) -> list[str]:
    return ids(RecordBucket(f"s3://{bucket}/loop/labels", LABELS).read(*ALWAYS))


pytestmark = pytest.mark.local


def test_both_logs_reach_the_store_and_leave_the_folder(start: Callable[..., _Collector], bucket: str) -> None:
    collector = start()
    journal = Journal(collector.home / "predictions", "m-v1")
    journal.append([record("one"), record("two")])
    journal.close()
    assert collector.label("one") == (202, {"accepted": 1})
    assert collector.terminate() == 0
    assert ids(RecordBucket(f"s3://{bucket}/loop/predictions", PREDICTIONS).read(*ALWAYS)) == ["one", "two"]
    assert _labels(bucket) == ["one"]
    assert not list(collector.home.glob("*/day=*/*.parquet"))


def test_while_the_store_is_down_labels_wait_and_load_is_shed_aloud(
    start: Callable[..., _Collector], bucket: str, s3: S3Server
) -> None:
    collector = start("--spool-bytes", "3000000")
    accepted = ["before"]
    assert collector.label("before")[0] == 202
    until(lambda: _labels(bucket) == ["before"])
    s3.gate.shut()
    try:
        assert collector.label("first")[0] == 202
        accepted.append("first")
        until(lambda: collector.health()["status"] == "trouble")
        trouble = collector.health()["trouble"]
        assert "they wait here" in trouble
        assert "NETWORK_CONNECTION" in trouble
        number = 0
        while True:
            number += 1
            assert number < 1000, "it takes more than it was allowed to"
            status, answer = collector.label(f"n{number:04}", "x" * 9000)
            if status != 202:
                break
            accepted.append(f"n{number:04}")
        assert status == 503
        assert "wait for the object store" in answer["error"]
        assert collector.metric("trimtab_shed_total") >= 1
        assert collector.metric("trimtab_spooled_bytes") > 0
        assert len(accepted) > 20
        collector.kill()  # -9, while everything waits
    finally:
        s3.gate.open()
    collector = start("--spool-bytes", "3000000")
    until(lambda: collector.label("after")[0] == 202)
    until(lambda: collector.health()["status"] == "ok" and len(_labels(bucket)) > len(accepted), 60)
    assert collector.terminate() == 0
    assert set(_labels(bucket)) == {*accepted, "after"}
    whole = SpooledLog(collector.home / "labels", LABELS, f"s3://{bucket}/loop/labels").read(*ALWAYS)
    assert ids(whole) == _labels(bucket)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in collector.output.read_text()


def test_a_stop_while_the_store_is_down_keeps_everything(
    start: Callable[..., _Collector], bucket: str, s3: S3Server
) -> None:
    collector = start()
    s3.gate.shut()
    try:
        assert collector.label("one")[0] == 202
        assert collector.terminate() == 0
    finally:
        s3.gate.open()
    assert _labels(bucket) == []
    collector = start()
    until(lambda: _labels(bucket) == ["one"])


@pytest.mark.parametrize("uri", ["s3://key:secret@bucket/x", "s3://x", "/folder"])
def test_a_store_that_is_none_is_refused_at_the_start(tmp_path: Path, uri: str) -> None:
    command = ["-m", "trimtab.serving.collector", "--home", str(tmp_path), "--port", "0", "--store", uri]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the collector cannot start" in done.stderr
    assert "Traceback" not in done.stderr
    assert ":secret@" not in done.stderr
