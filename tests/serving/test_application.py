"""The model server's REST face, without a process: what it answers, and what it remembers."""

import asyncio
import json
import logging
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": "heavy"}, "'weight' is 'heavy'; it must be a number"),
        ({"weight": 500}, "'weight' is 500; the contract says 1 to 200 g"),
        ({"sex": "X"}, "'sex' is 'X'; the contract allows only F, M"),
        ({"sex": None}, "'sex' is null"),
        ({"wieght": 1}, "'wieght' is unknown (did you mean 'weight'?)"),
        ({"genus": "Dipodomys"}, "'genus' is what the model predicts"),
        ({"weight": [1]}, "'weight' is [1]"),
    ],
)
def test_rows_that_break_the_contract_are_refused_before_any_is_predicted(
    server: Served, change: dict, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer, _ = server.rows({**GOOD, **change})
    assert (status, said in answer["error"]) == (422, True), answer
    status, answer, _ = server.rows(GOOD, GOOD, {**GOOD, **change})
    assert (status, answer["error"].startswith("row 2: ")) == (422, True)
    assert server.log() == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


_INPUT = {"name": "weight", "shape": [1], "datatype": "FP64", "data": [40]}


def _weight(**change: object) -> dict:
    return {"inputs": [{**_INPUT, **change}, *tensors([{key: GOOD[key] for key in ("hindfoot", "sex", "plot")}])]}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (V1, b"", "no JSON"),
        (V1, b"\xff\xfe", "no JSON"),
        (V1, [], "JSON object, found list"),
        (V1, {}, "expected"),
        (V1, {"instances": []}, "at least one row"),
        (V1, {"instances": {"a": 1}}, "expected"),
        (V1, {"instances": [[1, 2]]}, "instances[0]: expected an object"),
        (V1, b'{"instances": [{"weight": NaN}]}', "no JSON"),
        (V1, b"[" * 5000, "no JSON"),
        (V2, {"inputs": {}}, "inputs"),
        (V2, {"inputs": [1]}, "inputs[0]"),
        (V2, {"id": 7, "inputs": [_INPUT]}, "id: expected text"),
        (V2, _weight(shape=[2]), "1 values do not fit the shape [2]"),
        (V2, _weight(shape=[1, 2]), "expected [rows] or [rows, 1]"),
        (V2, _weight(shape=["1"]), "whole numbers"),
        (V2, _weight(shape=[1 << 40]), "do not fit"),
        (V2, _weight(datatype="TEXT"), "'TEXT' is not known; expected one of"),
        (V2, _weight(datatype="INT64", data=[1.5]), "1.5 is no INT64"),
        (V2, _weight(datatype="INT8", data=[300]), "300 is no INT8"),
        (V2, _weight(datatype="BOOL", data=["yes"]), "'yes' is no BOOL"),
        (V2, _weight(data=["40"]), "'40' is no FP64"),
        (V2, _weight(data=[[40], 41], shape=[2]), "does not have the shape"),
        (V2, _weight(data=None), "expected data"),
        (V2, _weight(parameters=[]), "parameters must be an object"),
        (V2, _weight(parameters={"binary_data_size": 8}), "expected data"),
        (V2, {**_weight(), "outputs": [{"name": "prize"}]}, "there is no 'prize'"),
        (V2, {**_weight(), "outputs": ["scores"]}, "list of objects"),
        (V2, {**_weight(), "parameters": 3}, "parameters must be an object"),
        (V2, {"inputs": [_INPUT, _INPUT]}, "is there twice"),
        (V2, {"inputs": [_INPUT, {**_INPUT, "name": "plot", "shape": [2], "data": [1, 2]}]}, "same number of rows"),
        (V2, {"inputs": [{**_INPUT, "shape": [0], "data": []}]}, "no rows"),
    ],
)
def test_what_is_no_request_is_answered_with_400_and_a_sentence(
    server: Served, path: str, body: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer, _ = server.ask("POST", path, body)
    assert (status, said in answer["error"]) == (400, True), answer
    assert server.log() == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("x-request-id", "a" * 257, 400),
        ("x-request-id", "caf\u00e9", 400),
        ("x-request-id", "a" * 256, 200),
        ("x-trimtab-time", "yesterday", 400),
        ("x-trimtab-time", "0001-01-01T00:00:00+14:00", 400),
        ("x-trimtab-time", "1500-01-01", 400),
        ("x-trimtab-time", "1999-12-31T23:59:59", 200),
        ("x-envoy-attempt-count", "\u00b2", 200),
        ("x-envoy-attempt-count", "-3", 200),
        ("ce-specversion", "1.0", 200),
    ],
)
def test_headers_are_checked(start: Start, header: str, value: str, status: int) -> None:
    body = json.dumps({"instances": [GOOD]}).encode()
    server = start(virtual_time=True)
    found = asyncio.run(server.send("POST", V1, body, {header: value.encode("latin-1")}))
    assert found[0] == status, found
    assert [record["attempt"] for record in server.log()] == [1] * (status == 200)


@pytest.mark.parametrize("length", ["x", "-1", "\u00b2", "9" * 30])
def test_a_wrong_length_of_the_json_is_refused(server: Served, length: str) -> None:
    body = json.dumps(_weight()).encode()
    headers = {"inference-header-content-length": length.encode("latin-1")}
    assert asyncio.run(server.send("POST", V2, body, headers))[0] == 400
    for bytes_of_json in ("0", "5"):
        assert server.ask("POST", V2, body, inference_header_content_length=bytes_of_json)[0] == 400


def test_too_many_rows_and_too_large_bodies_are_413(start: Start) -> None:
    server = start(max_rows=3, max_body_bytes=1000)
    assert server.rows(*[GOOD] * 3)[0] == 200
    status, answer, _ = server.rows(*[GOOD] * 4)
    assert (status, answer["error"]) == (413, "4 rows in one request; at most 3 are taken (serving.limits.maxRows)")
    for path in (V1, V2):
        status, answer, _ = server.ask("POST", path, b" " * 1001)
        assert (status, "1000 bytes (serving.limits.maxBodyBytes)" in answer["error"]) == (413, True)


def test_a_body_in_chunks_is_limited_too(start: Start) -> None:
    server = start(max_body_bytes=1000)
    sent = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": V1, "headers": [], "query_string": b"", "http_version": "1.1"}
    asyncio.run(server.app(scope, receive, send))
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("body", [b"", b"{}", b'{"instances": 3}'])
def test_control_and_explanations_are_501_and_unknown_names_404(
    server: Served, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/v2/repository/models/m/unload", "/v2/repository/models/m/load", "/v1/models/m:explain"):
        status, answer, _ = server.ask("POST", path, body)
        assert (status, list(answer)) == (501, ["error"])
    good = {"instances": [GOOD]}
    assert server.ask("POST", "/v1/models/other:predict", good)[:2] == (
        404,
        {"error": "Model with name other does not exist."},
    )
    for path in ("/v2/models/other", "/v1/models/other", "/nothing", "/docs"):
        assert server.ask("GET", path)[0] == 404
    assert server.ask("POST", "/v2/models/m/versions/8/infer", _weight())[0] == 404
    assert server.ask("POST", "/v2/models/m/versions/7/infer", _weight())[0] == 200
    assert server.ask("GET", V2)[0] == 405
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


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
    server.model._journal = journal = _Full()
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
    server.model._journal = _Full()
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
