"""Whatever a client sends, it is told what is wrong: never a 500, never a traceback, never half a log."""

import asyncio
import contextlib
import copy
import json
import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_app import GOOD, V1, V2, Served, serve, tensors

from trimtab.serving.refusals import Malformed
from trimtab.serving.tensors import request, rows
from trimtab.stages.bundle import Predictor

_MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
_CELL = _ANY | st.sampled_from(["M", "F", 40, 40.5, True, 1e308, -1e308, 1e400, 2**63, -(2**70), "\ud800", "\x00"])
_KINDS = ["FP64", "FP32", "FP16", "INT8", "INT64", "UINT64", "BOOL", "BYTES", "bytes", "", "FP128"]


@pytest.fixture(scope="module")
def fuzzed(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    served = serve(predictor, folder / "log", max_rows=50, virtual_time=True)
    yield served
    served.model.stop()


def _send(served: Served, path: str, body: bytes, **headers: bytes) -> int:
    before = len(served.log())
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    status, answer, _ = asyncio.run(served.send("POST", path, body, named))
    if status != 200:
        assert 400 <= status < 500, (status, answer)
        assert isinstance(answer["error"], str)
        assert answer["error"]
    after = len(served.log())
    assert (after > before) == (status == 200)
    return status


@given(st.binary(max_size=200) | _ANY.map(lambda value: json.dumps(value).encode()), st.sampled_from([V1, V2]))
@_MANY
def test_any_bytes(fuzzed: Served, body: bytes, path: str) -> None:
    _send(fuzzed, path, body)


@given(st.lists(st.dictionaries(st.sampled_from([*GOOD, "genus", "tag", "x"]), _CELL, max_size=6), max_size=3))
@_MANY
def test_any_instances(fuzzed: Served, instances: list) -> None:
    _send(fuzzed, V1, json.dumps({"instances": [{**GOOD, **one} for one in instances]}).encode())


@given(st.data())
@_MANY
def test_any_damage_to_a_good_v2_request(fuzzed: Served, data: st.DataObject) -> None:
    body = {"id": "a", "inputs": tensors([GOOD, GOOD]), "outputs": [{"name": "scores"}], "parameters": {}}
    body = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 3))):
        tensor = data.draw(st.sampled_from(body["inputs"]))
        key = data.draw(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]))
        tensor[key] = data.draw(
            {
                "datatype": st.sampled_from(_KINDS),
                "data": st.lists(_CELL, max_size=3) | _ANY,
                "shape": st.lists(st.integers(-3, 3), max_size=3) | _ANY,
                "parameters": st.fixed_dictionaries({"binary_data_size": _ANY}) | _ANY,
            }.get(key, _ANY)
        )
    if data.draw(st.booleans()):
        body[data.draw(st.sampled_from(["id", "outputs", "parameters", "inputs"]))] = data.draw(_ANY)
    _send(fuzzed, V2, json.dumps(body).encode())


@given(st.binary(max_size=60), st.sampled_from(_KINDS), st.integers(0, 70), st.integers(0, 3), st.integers(0, 200))
@_MANY
def test_any_binary_tensor(fuzzed: Served, raw: bytes, kind: str, size: int, count: int, cut: int) -> None:
    others = tensors([{key: GOOD[key] for key in ("hindfoot", "sex", "plot")}])
    one = {"name": "weight", "shape": [count], "datatype": kind, "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [*others, one]}).encode()
    length = str(len(text) if cut > 20 else cut).encode()
    _send(fuzzed, V2, text + raw, inference_header_content_length=length)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "x_request_id",
                "x_trimtab_time",
                "x_envoy_attempt_count",
                "host",
                "content_type",
                "ce_id",
                "ce_specversion",
                "ce_type",
                "ce_source",
            ]
        ),
        st.binary(max_size=30).filter(lambda text: not set(text) & {0, 10, 13}),
    )
)
@_MANY
def test_any_headers(fuzzed: Served, headers: dict[str, bytes]) -> None:
    _send(fuzzed, V1, json.dumps({"instances": [GOOD]}).encode(), **headers)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=5))
def test_texts_survive_their_binary_form(texts: list[str]) -> None:
    raw = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    head = {"name": "a", "shape": [len(texts)], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"inputs": [head]}).encode()
    assert rows(request(text + raw, len(text), "m")) == [{"a": one} for one in texts]


@given(st.binary(max_size=300), st.none() | st.integers(0, 300))
def test_the_reader_raises_nothing_else(body: bytes, length: int | None) -> None:
    with contextlib.suppress(Malformed):
        assert rows(request(body, length, "m"))


def test_no_traceback_was_written(fuzzed: Served, caplog: pytest.LogCaptureFixture) -> None:
    for body in (b"{", b'{"instances": [{}]}', b'{"instances": [{"weight": "x"}]}'):
        _send(fuzzed, V1, body)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
