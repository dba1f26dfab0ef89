"""Whatever comes by gRPC is answered or told what is wrong."""

import asyncio
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from serving_app import GOOD, Served, serve

from trimtab.serving.kserve.rpc import _Servicer, _Statuses
from trimtab.serving.kserve.server import Plane
from trimtab.stages.bundle import Predictor

_FIELDS = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "INT8": "int_contents",
    "UINT64": "uint64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
_VALUES = {
    "fp64_contents": st.floats(),
    "fp32_contents": st.floats(width=32),
    "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "bool_contents": st.booleans(),
    "bytes_contents": st.binary(max_size=10),
}
_CLIENTS_OWN = {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND}


class _Aborted(Exception):
    pass


class _Context:
    """What a servicer is given; keeps the status and the metadata."""

    def __init__(self) -> None:
        self.code, self.sentence, self.said = StatusCode.OK, "", {}

    def invocation_metadata(self) -> tuple:
        return (("x-request-id", "fuzz"), ("some-bin", b"\xff"))

    async def send_initial_metadata(self, metadata: tuple) -> None:
        self.said = dict(metadata)

    async def abort(self, code: StatusCode, sentence: str) -> None:
        self.code, self.sentence = code, sentence
        raise _Aborted


def _infer(served: Served, request: pb.ModelInferRequest) -> tuple[_Context, Any]:
    plane, context = Plane(served.model), _Context()
    servicer, statuses = _Servicer(plane, plane.repository, "7"), _Statuses(served.model.count_unanswered)

    async def call() -> Any:
        try:
            return await statuses.intercept(servicer.ModelInfer, request, context, "ModelInfer")
        except _Aborted:
            return None

    return context, asyncio.run(call())


@pytest.fixture(scope="module")
def served(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("rpc")
    served = serve(predictor, folder / "log")
    yield served
    served.model.stop()


@st.composite
def _tensor(draw: st.DrawFn, name: str) -> pb.ModelInferRequest.InferInputTensor:
    kind = draw(st.sampled_from([*_FIELDS, "FP16", "STRING", ""]))
    field = draw(st.sampled_from(list(_VALUES))) if draw(st.booleans()) else _FIELDS.get(kind, "bytes_contents")
    values = draw(st.lists(_VALUES[field], max_size=3))
    shape = draw(st.just([len(values)]) | st.lists(st.integers(-2, 3), max_size=3))
    contents = pb.InferTensorContents(**{field: values})
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype=kind, shape=shape, contents=contents)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_request(served: Served, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([*GOOD, "genus", "x"]), max_size=5))
    inputs = [data.draw(_tensor(name)) for name in names]
    raw = data.draw(st.just([]) | st.lists(st.binary(max_size=20), max_size=5))
    if raw and data.draw(st.booleans()):
        for tensor in inputs:
            tensor.ClearField("contents")
    outputs = data.draw(st.lists(st.sampled_from(["prediction", "scores", "prize"]), max_size=2))
    request = pb.ModelInferRequest(
        model_name=data.draw(st.sampled_from(["m", "m", "m", "other", ""])),
        model_version=data.draw(st.sampled_from(["", "7", "8"])),
        id=data.draw(st.sampled_from(["", "a", "\n", "é"])),
        inputs=inputs,
        raw_input_contents=raw,
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
    )
    before = len(served.log())
    context, answer = _infer(served, request)
    if answer is None:
        assert context.code in _CLIENTS_OWN, (context.code, context.sentence)
        assert context.sentence
        assert len(served.log()) == before
    else:
        assert context.said["x-trimtab-version"] == "7"
        assert len(served.log()) > before


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("wanted", [[], ["scores"], ["prediction"], ["scores", "prediction"]])
def test_the_outputs_that_were_asked_for_come(served: Served, raw: bool, wanted: list[str]) -> None:
    kinds = {"weight": ("FP64", "<d"), "hindfoot": ("FP64", "<d"), "plot": ("INT64", "<q"), "sex": ("BYTES", "")}
    inputs, raws = [], []
    for name, (kind, form) in kinds.items():
        value = GOOD[name].encode() if name == "sex" else GOOD[name]
        tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=kind, shape=[1])
        if raw:
            raws.append(struct.pack("<I", 1) + value if name == "sex" else struct.pack(form, value))
        else:
            tensor.contents.CopyFrom(pb.InferTensorContents(**{_FIELDS[kind]: [value]}))
        inputs.append(tensor)
    outputs = [pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in wanted]
    request = pb.ModelInferRequest(model_name="m", inputs=inputs, raw_input_contents=raws, outputs=outputs)
    context, answer = _infer(served, request)
    assert context.code is StatusCode.OK, context.sentence
    assert [output.name for output in answer.outputs] == (wanted or ["prediction", "scores"])
    assert bool(answer.raw_output_contents) == raw
