"""The real model server as a process: answers, deaths, full disks, damaged bundles, hanging models."""

import json
import pickle
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from serving_processes import GOOD, Process, ask, gated, model_server, predict, predictions, until
from trimtab.serving.kserve.arguments import parse
from trimtab.serving.kserve.server import main

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
    server = start("--max-batch-rows", "4", bundle=gated(made, tmp_path / "gated", gate))
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(predict(server.address, GOOD, GOOD, request_id=f"r{n}")))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    until(lambda: _sum(server, "trimtab_waiting_rows{") == 22)  # and one request of two rows is computed
    server.popen.send_signal(signal.SIGTERM)
    until(lambda: _refuses(server.address))
    assert server.popen.poll() is None
    gate.touch()
    assert server.popen.wait(30) == 0
    for thread in threads:
        thread.join(20)
    assert [status for status, _, _ in found] == [200] * 12
    assert {record["id"] for record in predictions(tmp_path)} == {f"r{n}-{i}" for n in range(12) for i in (0, 1)}
    assert [path.suffix for path in (tmp_path / "predictions" / "journal").iterdir()] == [".jsonl"]
    assert "Traceback" not in server.text()


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


class _Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self._path,)


def _copy(made: MadeBundle, folder: Path) -> Path:
    folder.mkdir()
    for path in made.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def _main(folder: Path, digest: str, tmp_path: Path) -> int:
    options = {"name": "m", "version": "1", "bundle": folder, "digest": digest, "log-dir": tmp_path / "log"}
    return main([text for key, value in {**options, "http-port": 1}.items() for text in (f"--{key}", str(value))])


def test_a_changed_model_is_refused_with_code_2_and_never_unpickled(
    start: Start, made: MadeBundle, tmp_path: Path
) -> None:
    folder = _copy(made, tmp_path / "b")
    (folder / "model.joblib").write_bytes(pickle.dumps(_Bomb(tmp_path / "boom")))
    server = start(bundle=MadeBundle(folder, made.digest, made.document, made.holdout), ready=False)
    assert server.popen.wait(60) == 2
    assert "version 7 is not served: " in server.text()
    assert "model.joblib was changed or cut short" in server.text()
    assert "Traceback" not in server.text()
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "name", ["manifest.json", "contract.json", "transform.json", "model.joblib", "reference.parquet", "evaluation.json"]
)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "link", "empty"])
def test_a_damaged_bundle_is_refused(
    made: MadeBundle, tmp_path: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _copy(made, tmp_path / "b")
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "link":
        (tmp_path / name).write_bytes(content)
        path.symlink_to(tmp_path / name)
    elif damage != "gone":
        flipped = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes({"cut": content[:-1], "flipped": flipped, "empty": b""}[damage])
    assert _main(folder, made.digest, tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith("version 1 is not served: ")
    assert str(path) in said
    assert said.count("\n") == 1


def test_a_wrong_digest_a_missing_bundle_and_a_foreign_model_are_refused(
    made: MadeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(made.folder, f"sha256:{'0' * 64}", tmp_path) == 2
    assert "is not the one that the registry vouches for" in capsys.readouterr().err
    assert _main(tmp_path / "nowhere", made.digest, tmp_path) == 2
    assert "No such file" in capsys.readouterr().err
    foreign = gated(made, tmp_path / "foreign", tmp_path / "gate")
    model = (foreign.folder / "model.joblib").read_bytes()
    assert model  # vouched for, but of a module that this process cannot import
    import sys

    known = sys.modules.pop("gated_estimator")
    paths, sys.path[:] = sys.path[:], [path for path in sys.path if path != str(Path(__file__).parent)]
    try:
        assert _main(foreign.folder, foreign.digest, tmp_path) == 2
    finally:
        sys.modules["gated_estimator"], sys.path[:] = known, paths
    assert "cannot be loaded here (ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"http-port": "0"}, "1 to 65535"),
        ({"http-port": "eighty"}, "'eighty': expected a whole number"),
        ({"http-port": "70000"}, "1 to 65535"),
        ({"name": "../m"}, "'../m': expected letters"),
        ({"version": ""}, "'': expected letters"),
        ({"digest": "md5:0"}, "expected sha256:"),
        ({"max-rows": "-1"}, "expected a whole number"),
        ({"when-full": "panic"}, "invalid choice"),
        ({"log-dir": None}, "--log-dir DIR, or --no-log"),
        ({"surprise": "1"}, "unrecognized arguments"),
    ],
)
def test_bad_arguments_end_it_with_code_2(change: dict, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    good = {
        "name": "m",
        "version": "1",
        "bundle": "b",
        "digest": f"sha256:{'a' * 64}",
        "log-dir": "l",
        "http-port": "1",
    }
    given = {key: value for key, value in {**good, **change}.items() if value is not None}
    with pytest.raises(SystemExit) as ended:
        parse([f"--{key}={value}" for key, value in given.items()])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_taken_port_is_told(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start(grpc_port=taken.getsockname()[1], ready=False)
        assert server.popen.wait(60) == 1
        assert "version 7 cannot listen on 127.0.0.1, port" in server.text()
        assert "Traceback" not in server.text()
    first = start(grpc_port=(port := free_port()))
    assert start(grpc_port=port, ready=False).popen.wait(60) == 1  # no sharing: it would answer for the other
    assert predict(first.address, GOOD)[0] == 200


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
