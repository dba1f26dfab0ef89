"""The real model server as a process: answers, deaths, full disks, damaged bundles, hanging models."""

import json
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from serving_processes import GOOD, Process, ask, gated, model_server, predict, predictions, until

from trimtab.adapters.listening import free_port
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle

pytestmark = pytest.mark.local


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    return bundles.make(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def start(tmp_path: Path, made: MadeBundle) -> Iterator[Start]:
    started = []

    def build(*options: str, bundle: MadeBundle = made, **more: object) -> Process:
        started.append(model_server(tmp_path, bundle, *options, **more))
        return started[-1]

    yield build
    for server in started:
        server.kill()


def _fill(address: str, number: int, rows: int = 500) -> int:
    return predict(address, *[GOOD] * rows, request_id=f"big{number}")[0]


class _Clients:
    """Threads that ask one request after another until the server is gone; ids that were answered with 200."""

    def __init__(self, address: str, count: int = 4) -> None:
        self._address = address
        self.answered: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, client: int) -> None:
        number = 0
        while True:
            number += 1
            rows = [{**GOOD, "plot": number % 23}] * (1 + number % 3)
            try:
                status, answer, _ = predict(self._address, *rows, request_id=f"c{client}n{number}")
            except (OSError, ValueError):
                return  # killed: this one was not answered
            assert status == 200, answer
            self.answered += answer["ids"]

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def test_every_acknowledged_answer_is_in_the_log_after_kill_9(start: Start, tmp_path: Path) -> None:
    for _ in range(3):
        server = start()
        clients = _Clients(server.address)
        wanted = len(clients.answered) + 300
        until(lambda clients=clients, wanted=wanted: len(clients.answered) > wanted)
        server.kill()
        clients.join()
        logged = [record["id"] for record in predictions(tmp_path)]
        assert set(clients.answered) <= set(logged)
        for path in (tmp_path / "predictions" / "journal").iterdir():
            path.unlink()


def test_sigterm_answers_what_was_taken_seals_the_log_and_exits_0(
    start: Start, made: MadeBundle, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    port = free_port()
    server = start("--max-batch-rows", "4", bundle=gated(made, tmp_path / "gated", gate), grpc_port=port)
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(predict(server.address, GOOD, GOOD, request_id=f"r{n}")))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    by_grpc = GRPCInferenceServiceStub(channel).ModelInfer.future(_grpc_request("by-grpc"), timeout=60)
    until(lambda: _sum(server, "trimtab_waiting_rows{") == 23)  # and one request of two rows is computed
    server.popen.send_signal(signal.SIGTERM)
    until(lambda: _refuses(server.address))
    assert server.popen.poll() is None
    gate.touch()
    assert server.popen.wait(30) == 0
    for thread in threads:
        thread.join(20)
    assert [status for status, _, _ in found] == [200] * 12
    assert by_grpc.result().id == "by-grpc"
    channel.close()
    wanted = {f"r{n}-{i}" for n in range(12) for i in (0, 1)} | {"by-grpc"}
    assert {record["id"] for record in predictions(tmp_path)} == wanted
    assert [path.suffix for path in (tmp_path / "predictions" / "journal").iterdir()] == [".jsonl"]
    assert "Traceback" not in server.text()


def _grpc_request(id_: str) -> pb.ModelInferRequest:
    kinds = {"weight": "fp64_contents", "hindfoot": "fp64_contents", "plot": "int64_contents"}
    inputs = [
        pb.ModelInferRequest.InferInputTensor(
            name=name,
            shape=[1],
            datatype="INT64" if name == "plot" else "FP64",
            contents=pb.InferTensorContents(**{kind: [GOOD[name]]}),
        )
        for name, kind in kinds.items()
    ]
    sex = pb.InferTensorContents(bytes_contents=[b"M"])
    inputs.append(pb.ModelInferRequest.InferInputTensor(name="sex", shape=[1], datatype="BYTES", contents=sex))
    return pb.ModelInferRequest(model_name="m", id=id_, inputs=inputs)


def _sum(server: Process, name: str) -> float:
    import http.client

    connection = http.client.HTTPConnection(server.address, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def _refuses(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_hanging_model_makes_the_server_unhealthy_and_a_stop_does_not_wait_for_it(
    start: Start, made: MadeBundle, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    server = start("--stuck-seconds", "1", bundle=gated(made, tmp_path / "gated", gate))
    assert ask(server.address, "GET", "/v2/health/live")[0] == 200
    host, _, port = server.address.rpartition(":")
    body = json.dumps({"instances": [GOOD]}).encode()
    client = socket.create_connection((host, int(port)))
    client.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    until(lambda: ask(server.address, "GET", "/v2/health/live")[0] == 503)
    assert ask(server.address, "GET", "/v2/health/ready")[0] == 503
    assert ask(server.address, "GET", "/v2/models/m")[0] == 200  # it is the model that hangs, not the server
    assert server.terminate() == 1
    assert not client.recv(100).startswith(b"HTTP/1.1 200")
    client.close()
    assert predictions(tmp_path) == []


@pytest.mark.parametrize("when_full", ["refuse", "serve"])
def test_a_full_disk_for_the_log(start: Start, tmp_path: Path, when_full: str) -> None:
    server = start("--when-full", when_full)
    most = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)[1]
    assert _fill(server.address, 0) == 200
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1 << 20, most))  # as if the disk had no more room than this
    number, acknowledged, refused = 0, {"big0"}, set()
    while not refused:
        number += 1
        status, answer, headers = predict(server.address, *[GOOD] * 500, request_id=f"big{number}")
        if status == 503 or headers.get("x-trimtab-logged") == "false":
            refused.add(f"big{number}")
            assert number < 100
        else:
            acknowledged.add(f"big{number}")
    if when_full == "refuse":
        assert (status, headers["retry-after"]) == (503, "5")
        assert "cannot be written" in answer["error"]
    else:
        assert (status, len(answer["predictions"])) == (200, 500)
        assert _sum(server, "trimtab_unlogged_total{") == 500
    assert ask(server.address, "GET", "/v2/health/live")[0] == 200
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
    assert _fill(server.address, 1000) == 200
    logged = [record["id"] for record in predictions(tmp_path)]
    assert len(logged) == len(set(logged))
    assert {id_.rpartition("-")[0] for id_ in logged} == acknowledged | {"big1000"}
    assert len(logged) == 500 * (len(acknowledged) + 1)
    assert "Traceback" not in server.text()
    assert "the log can be written again" in server.text()


def test_clients_that_go_away_harm_nobody(start: Start) -> None:
    server = start()
    body = json.dumps({"instances": [GOOD] * 200}).encode()
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    host, _, port = server.address.rpartition(":")
    for cut in (0, len(head), len(head) + 10, len(head) + len(body)):
        for _ in range(10):
            with socket.create_connection((host, int(port))) as client:
                client.sendall((head + body)[:cut])
    assert predict(server.address, GOOD)[0] == 200
    assert ask(server.address, "POST", "/v1/models/m:predict", b"{")[0] == 400
    assert ask(server.address, "POST", "/v2/repository/models/m/unload", b"")[0] == 501
    assert ask(server.address, "POST", "/v1/models/none:predict", body)[0] == 404
    assert server.terminate() == 0
    assert server.text() == ""


def test_an_answer_comes_in_one_piece(start: Start) -> None:
    server = start()
    body = json.dumps({"instances": [GOOD] * 20}).encode()
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as client:
        for _ in range(200):
            client.sendall(
                b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
            found = client.recv(1 << 20)
            assert found.startswith(b"HTTP/1.1 200")
            assert found.endswith(b"}")


def test_time_is_taken_from_the_header_only_in_a_replay(start: Start, tmp_path: Path) -> None:
    server = start("--accept-time-header")
    body = json.dumps({"instances": [GOOD]}).encode()
    headers = {"x-trimtab-time": "1995-09-01T00:00:00+00:00"}
    assert ask(server.address, "POST", "/v1/models/m:predict", body, headers=headers)[0] == 200
    assert [record["time"] for record in predictions(tmp_path)] == [datetime(1995, 9, 1, tzinfo=UTC)]
