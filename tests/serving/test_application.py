"""The model server's REST face, without a process: what it answers, and what it remembers."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from prometheus_client import generate_latest
from serving_app import GOOD, V1, V2, Served, tensors

from trimtab.errors import StorageFull
from trimtab.stages.bundle import Predictor
from trimtab.testing import bundles

Start = Callable[..., Served]


def _rows(n: int, seed: int = 5) -> list[dict]:
    return bundles.rows(n, seed)[["weight", "hindfoot", "sex", "plot"]].to_dict("records")


def test_v1_and_v2_answer_what_the_predictor_says(server: Served, predictor: Predictor) -> None:
    rows = [*_rows(200), {**GOOD, "hindfoot": None, "plot": 23}]
    wanted = predictor.predict_rows(rows, [datetime.now(UTC)] * len(rows))
    status, v1, headers = server.rows(*rows, x_request_id="r")
    assert (status, headers["x-request-id"], headers["x-trimtab-version"]) == (200, "r", "7")
    assert v1 == {
        "predictions": wanted.labels.tolist(),
        "ids": [f"r-{number}" for number in range(len(rows))],
        "version": "7",
    }
    status, v2, _ = server.ask("POST", V2, {"id": "q", "inputs": tensors(rows)})
    assert (status, v2["id"], v2["model_name"], v2["model_version"]) == (200, "q", "m", "7")
    found = {output["name"]: output for output in v2["outputs"]}
    assert found["prediction"]["data"] == wanted.labels.tolist()
    assert np.array_equal(np.reshape(found["scores"]["data"], found["scores"]["shape"]), wanted.scores)


def test_binary_tensors_go_both_ways(server: Served, predictor: Predictor) -> None:
    rows = _rows(3)
    raw = {
        "weight": ("FP64", np.array([row["weight"] for row in rows]).tobytes()),
        "hindfoot": ("FP64", np.array([row["hindfoot"] for row in rows]).tobytes()),
        "plot": ("INT32", np.array([row["plot"] for row in rows], dtype=np.int32).tobytes()),
        "sex": ("BYTES", b"".join(len(row["sex"]).to_bytes(4, "little") + row["sex"].encode() for row in rows)),
    }
    head = {
        "inputs": [
            {"name": name, "shape": [3, 1], "datatype": kind, "parameters": {"binary_data_size": len(data)}}
            for name, (kind, data) in raw.items()
        ],
        "outputs": [{"name": "scores", "parameters": {"binary_data": True}}],
    }
    text = json.dumps(head).encode()
    body = text + b"".join(data for _, data in raw.values())
    status, answer, headers = server.ask("POST", V2, body, inference_header_content_length=str(len(text)))
    assert status == 200
    size = int(headers["inference-header-content-length"])
    assert json.loads(answer[:size])["outputs"][0]["name"] == "scores"
    scores = np.frombuffer(answer[size:]).reshape(3, -1)
    assert np.array_equal(scores, predictor.predict_rows(rows, [datetime.now(UTC)] * 3).scores)


def test_plain_curl_needs_no_content_type(server: Served) -> None:
    form = "application/x-www-form-urlencoded"
    assert server.rows(GOOD, content_type=form)[0] == 200
    assert server.ask("POST", V2, {"inputs": tensors([GOOD])}, content_type=form)[0] == 200


def test_each_answer_is_remembered_with_what_was_asked(start: Start) -> None:
    server = start(virtual_time=True)
    time = "2001-02-03T04:05:06+01:00"
    server.rows(GOOD, x_request_id="one", x_trimtab_time=time, x_envoy_attempt_count="2")
    server.rows({**GOOD, "weight": 1}, GOOD, x_request_id="two", host="trimtab-shadow:80")
    server.ask("POST", V2, {"id": "three", "inputs": tensors([GOOD])}, x_request_id="other", x_trimtab_shadow="true")
    found = {record["id"]: record for record in server.log()}
    assert list(found) == ["one", "two-0", "two-1", "three"]
    first = found["one"]
    assert first["time"] == datetime(2001, 2, 3, 3, 5, 6, tzinfo=UTC)
    assert (first["version"], first["shadow"], first["attempt"], first["protocol"]) == ("7", False, 2, "v1")
    assert json.loads(first["features"]) == GOOD
    assert (first["prediction"], len(first["scores"])) == ("Dipodomys", 3)
    assert 0 < first["latency_ms"] < 60_000
    assert [found[id_]["shadow"] for id_ in ("two-0", "two-1", "three")] == [True, True, True]
    assert json.loads(found["two-0"]["features"])["weight"] == 1
    assert found["three"]["protocol"] == "v2"


def test_a_client_cannot_choose_the_time_unless_told(server: Served) -> None:
    server.rows(GOOD, x_trimtab_time="1999-01-01")
    assert (datetime.now(UTC) - server.log()[0]["time"]).total_seconds() < 60


def test_health_metadata_and_metrics(server: Served) -> None:
    assert server.ask("GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert server.ask("GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    inputs = server.ask("GET", "/v2/models/m")[1]["inputs"]
    assert {one["name"]: one["datatype"] for one in inputs} == {
        "weight": "FP64",
        "hindfoot": "FP64",
        "sex": "BYTES",
        "plot": "INT64",
    }
    server.rows(GOOD, GOOD)
    server.rows({**GOOD, "sex": "X"})
    server.ask("POST", V1, b"{")
    text = generate_latest(server.registry).decode()
    for line in (
        'trimtab_requests_total{model="m",protocol="v1",shadow="false",version="7"} 1.0',
        'trimtab_rows_total{model="m",version="7"} 2.0',
        'trimtab_unanswered_total{model="m",status="422",version="7"} 1.0',
        'trimtab_unanswered_total{model="m",status="400",version="7"} 1.0',
        'trimtab_latency_seconds_count{model="m",version="7"} 1.0',
        'trimtab_model_info{digest="sha256:ab",model="m",version="7"} 1.0',
    ):
        assert line in text


def test_a_version_that_only_fails_has_a_count_of_answers(server: Served) -> None:
    """Else its share of failures is a number over nothing, and no alert fires."""
    text = generate_latest(server.registry).decode()
    assert 'trimtab_requests_total{model="m",protocol="v1",shadow="false",version="7"} 0.0' in text
    assert 'trimtab_unanswered_total{model="m",status="500",version="7"} 0.0' in text


class _Full:
    """A journal on a full disk, until `room`."""

    def __init__(self) -> None:
        self.room, self.kept = False, []

    def append(self, records: list) -> None:
        if not self.room:
            raise StorageFull("no room on that disk")
        self.kept += records

    def close(self) -> None:
        pass


def test_without_room_for_the_log_nothing_is_acknowledged(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start(when_full="refuse")
    server.model._records._journal = journal = _Full()
    for _ in range(3):
        status, answer, headers = server.rows(GOOD)
        assert (status, answer, headers["retry-after"]) == (503, {"error": "no room on that disk"}, "5")
    journal.room = True
    assert server.rows(GOOD)[0] == 200
    assert len(journal.kept) == 1
    assert [record.getMessage() for record in caplog.records if record.name == "trimtab.server"] == [
        "no room on that disk",
        "the log can be written again",
    ]


def test_without_room_answers_are_served_with_a_warning_if_wanted(start: Start) -> None:
    server = start(when_full="serve")
    server.model._records._journal = _Full()
    status, answer, headers = server.rows(GOOD, GOOD)
    assert (status, len(answer["predictions"]), headers["x-trimtab-logged"]) == (200, 2, "false")
    assert 'trimtab_unlogged_total{model="m",version="7"} 2.0' in generate_latest(server.registry).decode()


def test_a_model_that_fails_is_500_with_a_sentence_and_one_traceback(
    server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(server.model._predictor), "predict_rows", lambda *_: 1 / 0)
    status, answer, _ = server.rows(GOOD, x_request_id="bad")
    assert status == 500
    assert answer == {"error": "version 7 could not compute this (ZeroDivisionError); its log says more"}
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("version 7 could not compute request bad", True)
    ]
    assert server.log() == []


def test_good_and_bad_requests_at_once_get_their_own_answers(server: Served, predictor: Predictor) -> None:
    rows = _rows(60)
    wanted = predictor.predict_rows(rows, [datetime.now(UTC)] * len(rows)).labels.tolist()

    async def all_at_once() -> list:
        sent = []
        for number, row in enumerate(rows):
            bad = {**row, "weight": "x"} if number % 5 == 0 else row
            body = json.dumps({"instances": [bad]}).encode()
            sent.append(server.send("POST", V1, body, {"x-request-id": f"r{number}"}))
        return await asyncio.gather(*sent)

    for number, (status, answer, _) in enumerate(asyncio.run(all_at_once())):
        if number % 5 == 0:
            assert status == 422
        else:
            assert (status, answer["predictions"], answer["ids"]) == (200, [wanted[number]], [f"r{number}"])
    assert len(server.log()) == 48
