"""What the REST face refuses, with which status and sentence, and that nothing of it is predicted or remembered."""

import asyncio
import json
import logging
from collections.abc import Callable

import pytest
from serving_app import GOOD, V1, V2, Served, tensors

Start = Callable[..., Served]


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
