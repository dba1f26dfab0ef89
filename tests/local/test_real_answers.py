"""Real rows of desert rodents: the server answers exactly what its model says, whatever the protocol."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from serving_processes import Process, ask, model_server, predict, predictions

from trimtab.adapters.listening import free_port
from trimtab.spec.read import load
from trimtab.stages import fitting, ingest, split, validate
from trimtab.stages.bundle import Prediction, Predictor
from trimtab.testing.bundles import MadeBundle

pytestmark = pytest.mark.local
_DEMO = Path(__file__).parents[2] / "examples" / "desert-rodents"
_KINDS = {"string": "BYTES", "integer": "FP64", "number": "FP64", "boolean": "BOOL", "empty": "BYTES"}
_ROWS = 800


@dataclass
class _World:
    """A server with its rows; all of them were asked for at one time, since the month is a feature."""

    server: Process
    folder: Path
    rows: list[dict]
    columns: dict[str, str]
    predictor: Predictor
    wanted: Prediction
    time: str

    @property
    def headers(self) -> dict[str, str]:
        return {"x-trimtab-time": self.time}

    def grpc(self) -> GRPCInferenceServiceStub:
        return GRPCInferenceServiceStub(grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}"))

    grpc_port: int = 0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    folder = tmp_path_factory.mktemp("real")
    loop = load(_DEMO / "loop.yaml")
    frame = ingest.read(loop.spec.data, _DEMO, as_of=datetime(1985, 1, 1, tzinfo=UTC))
    contract = validate.infer(frame, loop.spec.data, loop.spec.scope.problem, include=loop.spec.features.include)
    train, held = split.split(frame, loop.spec.data.split, loop.spec.data, loop.spec.training.seed)
    fitted = fitting.fit(loop, contract, train, "1985-01-01T00:00:00+00:00")
    digest = fitting.pack(folder / "b", fitted, held, fitting.judge(loop, fitted, held, None))
    made = MadeBundle(folder / "b", digest, loop, held)
    later = ingest.read(loop.spec.data, _DEMO, as_of=datetime(1996, 1, 1, tzinfo=UTC)).tail(_ROWS)
    names = [rule.name for rule in contract.features]
    rows = json.loads(later[names].to_json(orient="records"))  # NaN becomes null, as clients send it
    time = datetime(1995, 9, 1, tzinfo=UTC)
    predictor = made.load()
    wanted = predictor.predict_rows(rows, [time] * len(rows))
    port = free_port()
    server = model_server(folder, made, "--accept-time-header", grpc_port=port)
    kinds = {rule.name: _KINDS[rule.type] for rule in contract.features}
    yield _World(server, folder, rows, kinds, predictor, wanted, time.isoformat(), port)
    server.kill()


def _data(world: _World, rows: list[dict], name: str, kind: str) -> list:
    return [np.nan if row[name] is None and kind == "FP64" else row[name] for row in rows]


def _inputs(world: _World, rows: list[dict]) -> list[dict]:
    return [
        {"name": name, "shape": [len(rows)], "datatype": kind, "data": [row[name] for row in rows]}
        for name, kind in world.columns.items()
    ]


def test_v1(world: _World) -> None:
    body = json.dumps({"instances": world.rows}).encode()
    status, answer, _ = ask(world.server.address, "POST", "/v1/models/m:predict", body, headers=world.headers)
    assert status == 200, answer
    assert answer["predictions"] == world.wanted.labels.tolist()
    assert len(set(answer["predictions"])) > 5


def test_v1_one_by_one_is_the_same_as_together(world: _World) -> None:
    for number, row in enumerate(world.rows[:60]):
        body = json.dumps({"instances": [row]}).encode()
        headers = {**world.headers, "x-request-id": f"one-{number}"}
        answer = ask(world.server.address, "POST", "/v1/models/m:predict", body, headers=headers)[1]
        assert answer["predictions"] == [world.wanted.labels[number]]
    logged = {record["id"]: record for record in predictions(world.folder)}
    for number, row in enumerate(world.rows[:60]):
        record = logged[f"one-{number}"]
        assert json.loads(record["features"]) == row
        alone = world.predictor.predict_rows([row], [datetime.fromisoformat(world.time)])
        assert record["scores"] == alone.scores[0].tolist()
        # Many rows are computed with wider instructions: the last bit may differ.
        assert record["scores"] == pytest.approx(world.wanted.scores[number].tolist(), rel=1e-12)


def test_v2_rest(world: _World) -> None:
    body = json.dumps({"inputs": _inputs(world, world.rows)}).encode()
    status, answer, _ = ask(world.server.address, "POST", "/v2/models/m/infer", body, headers=world.headers)
    assert status == 200, answer
    found = {output["name"]: output for output in answer["outputs"]}
    assert found["prediction"]["data"] == world.wanted.labels.tolist()
    assert np.array_equal(np.reshape(found["scores"]["data"], found["scores"]["shape"]), world.wanted.scores)


@pytest.mark.parametrize("raw", [True, False])
def test_grpc(world: _World, raw: bool) -> None:
    complete = [number for number, row in enumerate(world.rows) if None not in row.values()]
    rows = [world.rows[number] for number in complete]
    inputs = []
    for name, kind in world.columns.items():
        values = _data(world, rows, name, kind)
        tensor = InferInput(name=name, shape=[len(rows)], datatype=kind, data=None if raw else values)
        if raw:
            tensor.set_data_from_numpy(np.array(values, dtype=object if kind == "BYTES" else None))
        inputs.append(tensor)
    request = InferRequest("m", inputs, request_id=f"grpc-{raw}").to_grpc()
    metadata = (*world.headers.items(), ("x-envoy-attempt-count", "2"), ("x-trimtab-shadow", "true"))
    answer, call = world.grpc().ModelInfer.with_call(request, metadata=metadata, timeout=20)
    said = dict(call.initial_metadata())
    assert (said["x-request-id"], said["x-trimtab-version"]) == (f"grpc-{raw}", "7")
    assert (answer.id, answer.model_version) == (f"grpc-{raw}", "7")
    if raw:
        scores = np.frombuffer(answer.raw_output_contents[1])
    else:
        assert [text.decode() for text in answer.outputs[0].contents.bytes_contents] == [
            world.wanted.labels[number] for number in complete
        ]
        scores = np.array(answer.outputs[1].contents.fp64_contents)
    assert np.array_equal(scores.reshape(len(rows), -1), world.wanted.scores[complete])
    logged = [record for record in predictions(world.folder) if record["id"].startswith(f"grpc-{raw}-")]
    assert len(logged) == len(rows)
    assert {(one["protocol"], one["attempt"], one["shadow"]) for one in logged} == {("grpc", 2, True)}


def _bytes(name: str, *values: bytes) -> pb.ModelInferRequest.InferInputTensor:
    contents = pb.InferTensorContents(bytes_contents=values)
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype="BYTES", shape=[len(values)], contents=contents)


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (pb.ModelInferRequest(model_name="other"), "NOT_FOUND", "Model with name other does not exist."),
        (pb.ModelInferRequest(model_name="m", model_version="6"), "NOT_FOUND", "version '6'"),
        (pb.ModelInferRequest(model_name="m"), "INVALID_ARGUMENT", "no rows"),
        (pb.ModelInferRequest(model_name="m", inputs=[_bytes("sex", b"Q")]), "INVALID_ARGUMENT", "'sex' is 'Q'"),
        (pb.ModelInferRequest(model_name="m", inputs=[_bytes("sex", b"\xff")]), "INVALID_ARGUMENT", "is no BYTES"),
        (pb.ModelInferRequest(model_name="m", id="\n", inputs=[_bytes("sex", b"M")]), "INVALID_ARGUMENT", "printable"),
        (
            pb.ModelInferRequest(model_name="m", inputs=[_bytes("sex", b"M")], raw_input_contents=[b"1", b"2"]),
            "INVALID_ARGUMENT",
            "does not match",
        ),
        (
            pb.ModelInferRequest(
                model_name="m",
                inputs=[pb.ModelInferRequest.InferInputTensor(name="sex", datatype="BYTES", shape=[1])],
                raw_input_contents=[b"\xff\xff\xff\xff"],
            ),
            "INVALID_ARGUMENT",
            "length-prefixed",
        ),
        (
            pb.ModelInferRequest(
                model_name="m",
                inputs=[pb.ModelInferRequest.InferInputTensor(name="sex", datatype="TEXT", shape=[1])],
            ),
            "INVALID_ARGUMENT",
            "invalid content type",
        ),
        (pb.RepositoryModelUnloadRequest(model_name="m"), "UNIMPLEMENTED", "unloaded by the controller"),
        (pb.ModelMetadataRequest(name="other"), "NOT_FOUND", "does not exist"),
    ],
)
def test_grpc_mistakes_have_a_status_and_a_sentence(world: _World, request_: object, code: str, said: str) -> None:
    stub = world.grpc()
    method = {
        pb.ModelInferRequest: stub.ModelInfer,
        pb.RepositoryModelUnloadRequest: stub.RepositoryModelUnload,
        pb.ModelMetadataRequest: stub.ModelMetadata,
    }[type(request_)]
    with pytest.raises(grpc.RpcError) as failure:
        method(request_, timeout=20)
    assert failure.value.code().name == code
    assert said in failure.value.details()
    assert predict(world.server.address, world.rows[0])[0] == 200  # nobody could unload it
    assert world.server.text() == ""


def test_grpc_health_and_metadata(world: _World) -> None:
    stub = world.grpc()
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=20).ready
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=20).live
    told = stub.ModelMetadata(pb.ModelMetadataRequest(name="m"), timeout=20)
    assert {one.name for one in told.inputs} <= set(world.columns)
    assert [(one.name, one.datatype) for one in told.outputs] == [("prediction", "BYTES"), ("scores", "FP64")]
