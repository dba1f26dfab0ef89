"""The whole way of a request: Envoy, real model servers, prediction log; while shares change and servers die."""

import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from serving_processes import GOOD, ask, gated, labels, predict, predictions, until

from trimtab.adapters.router.envoy import EnvoyRouter
from trimtab.adapters.servers.collector import CollectorProcess
from trimtab.adapters.servers.process import ProcessServers
from trimtab.adapters.supervision import Patience
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Limits, Serving
from trimtab.testing import bundles

pytestmark = pytest.mark.local
_PATIENCE = Patience(pause_seconds=0.1, probe_every_seconds=0.2, probe_seconds=1.0, drain_seconds=3.0)


class _Clients:
    """Threads that predict one request after another on kept connections while the block runs."""

    def __init__(self, address: str, count: int = 4) -> None:
        self._address, self._stop, self._lock = address, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(count)]
        self.answered: dict[str, tuple[str, str]] = {}  # id: version, prediction
        self.lost: Counter[str] = Counter()
        self.slowest_seconds = 0.0

    def __enter__(self) -> "_Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        with self._lock:
            return len(self.answered) + sum(self.lost.values())

    def _client(self, client: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        number = 0
        while not self._stop.is_set():
            number += 1
            row = {**GOOD, "weight": 10 + number % 40, "hindfoot": 6 + number % 24, "plot": 1 + number % 23}
            body, id_ = json.dumps({"instances": [row]}).encode(), f"load-{client}-{number}"
            begun = time.monotonic()
            try:
                connection.request("POST", "/v1/models/m:predict", body, {"x-request-id": id_})
                answer = connection.getresponse()
                text = answer.read()
                outcome = "" if answer.status == 200 else f"{answer.status} {text.decode()}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                outcome = type(error).__name__
            with self._lock:
                self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)
                if outcome:
                    self.lost[outcome] += 1
                else:
                    found = json.loads(text)
                    assert (found["ids"], answer.headers["x-request-id"]) == ([id_], id_)
                    assert answer.headers["x-trimtab-version"] == found["version"]
                    self.answered[id_] = (found["version"], found["predictions"][0])
        connection.close()


class _World:
    """Two versions behind Envoy; `turn` is what the controller does."""

    def __init__(self, folder: Path, requests: list[ServerRequest]) -> None:
        self.folder = folder
        serving = Serving(port=0, limits=Limits(timeout=timedelta(seconds=1)))
        log = folder / "predictions"
        self.servers = ProcessServers(
            folder / "servers", name="m", serving=serving, prediction_log=log, patience=_PATIENCE
        )
        self.router = EnvoyRouter(folder / "router", serving)
        self.collector = CollectorProcess(folder / "collector", home=folder)
        self.requests, self.views = requests, {}
        self.percent = self.mirror = 0

    def turn(self, percent: int | None = None, mirror: int = 0) -> dict[str, ServerView]:
        if percent is not None:
            self.percent, self.mirror = percent, mirror
        self.views = dict(self.servers.ensure(self.requests))
        ready = {view.version: view for view in self.views.values() if view.state == "ready"}
        targets = [
            Target(request.version, view.address, view.grpc_address) if (view := ready.get(request.version)) else None
            for request in self.requests
        ]
        stable, candidate = targets
        self.router.apply(
            Routes(
                stable,
                candidate,
                self.percent if candidate else 0,
                self.mirror if candidate else 0,
                self.collector.ensure(),
            )
        )
        return self.views

    def all_ready(self) -> bool:
        return all(view.state == "ready" for view in self.turn().values())

    def await_more(self, clients: _Clients, count: int) -> None:
        wanted = clients.count + count
        until(lambda: self.turn() and clients.count >= wanted, 60)

    def close(self) -> None:
        self.router.close()
        self.servers.close()
        self.collector.close()


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[ServerRequest]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {version: bundles.make(folder / version, seed=int(version)) for version in ("1", "2")}
    return [ServerRequest(version, one.folder, one.digest) for version, one in made.items()]


@pytest.fixture
def world(tmp_path: Path, requests: list[ServerRequest]) -> Iterator[_World]:
    world = _World(tmp_path, requests)
    try:
        until(world.all_ready, 90)
        yield world
    finally:
        world.close()


def _the_answers(folder: Path) -> dict[str, list[dict]]:
    """By id, the records of its last attempt that were no copies: one, if all is well."""
    by_id: dict[str, list[dict]] = {}
    for record in predictions(folder):
        if not record["shadow"]:
            by_id.setdefault(record["id"], []).append(record)
    return {
        id_: [record for record in records if record["attempt"] == max(one["attempt"] for one in records)]
        for id_, records in by_id.items()
    }


def _check(world: _World, clients: _Clients) -> None:
    """No request lost, and each answer is in the log, once, as what the client was told."""
    assert clients.lost == {}
    logged = _the_answers(world.folder)
    assert set(clients.answered) <= set(logged)
    assert {id_: len(records) for id_, records in logged.items() if len(records) != 1} == {}
    wrong = {
        id_: (told, record["version"], record["prediction"])
        for id_, told in clients.answered.items()
        if (record := logged[id_][0]) and told != (record["version"], record["prediction"])
    }
    assert wrong == {}


def test_shares_change_live_under_load_and_nothing_is_lost(world: _World) -> None:
    world.turn(0)
    with _Clients(world.router.address) as clients:
        for percent in (0, 5, 50, 100, 50, 0, 25, 75, 50):
            world.turn(percent)
            world.await_more(clients, 60)
    _check(world, clients)
    shares = Counter(version for version, _ in clients.answered.values())
    assert min(shares["1"], shares["2"]) > 60


def _kill(view: ServerView) -> None:
    os.kill(view.pid, signal.SIGKILL)


def _hang(view: ServerView) -> None:
    os.kill(view.pid, signal.SIGSTOP)


@pytest.mark.parametrize(("victim", "harm"), [("2", _kill), ("1", _kill), ("2", _hang)])
def test_a_server_killed_or_hanging_under_load_costs_no_answer(
    world: _World, victim: str, harm: Callable[[ServerView], None]
) -> None:
    world.turn(50)
    with _Clients(world.router.address) as clients:
        world.await_more(clients, 200)
        before = world.views[victim]
        harm(before)
        world.await_more(clients, 300)
        until(lambda: world.turn()[victim].pid not in (0, before.pid) and world.all_ready(), 60)
        world.await_more(clients, 100)
    assert clients.slowest_seconds < 10
    _check(world, clients)


def test_a_server_that_wakes_up_late_does_not_change_what_was_answered(world: _World) -> None:
    world.turn(50)
    with _Clients(world.router.address) as clients:
        world.await_more(clients, 50)
        pid = world.views["2"].pid
        os.kill(pid, signal.SIGSTOP)
        seen = clients.count
        until(lambda: clients.count > seen + 100, 60)
        os.kill(pid, signal.SIGCONT)  # it now answers what it was asked before, and logs it
        world.await_more(clients, 100)
    _check(world, clients)
    assert any(record["attempt"] > 1 for record in predictions(world.folder))


def test_a_model_that_hangs_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for gated_estimator
    gate = tmp_path / "gate"
    made = gated(bundles.make(tmp_path / "b"), tmp_path / "gated", gate)
    wanted = ServerRequest("1", made.folder, made.digest)
    patience = replace(_PATIENCE, silent_probes=2)
    command = (sys.executable, "-m", "trimtab.serving.kserve.server", "--stuck-seconds", "1")
    log = tmp_path / "predictions"
    servers = ProcessServers(
        tmp_path / "s", name="m", serving=Serving(), prediction_log=log, patience=patience, command=command
    )
    try:
        until(lambda: servers.ensure([wanted])["1"].state == "ready", 90)
        view = servers.ensure([wanted])["1"]
        thread = threading.Thread(target=_hanging_request, args=(view.address,))
        thread.start()
        until(lambda: servers.ensure([wanted])["1"].state != "ready", 30)
        assert "it says that it hangs, the answer to 2 probes" in servers.ensure([wanted])["1"].reason
        thread.join(20)
        gate.touch()
        until(lambda: servers.ensure([wanted])["1"].state == "ready", 90)
        again = servers.ensure([wanted])["1"]
        assert (again.restarts, again.pid != view.pid) == (1, True)
        assert predict(again.address, GOOD)[0] == 200
    finally:
        servers.close()


def _hanging_request(address: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        predict(address, GOOD)


def test_accepted_labels_survive_the_death_of_the_log_writer(world: _World) -> None:
    until(lambda: world.turn() and world.collector.ensure())
    accepted, stop, failed = [], threading.Event(), Counter()

    def send(client: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            body = json.dumps({"id": f"{client}-{number}", "label": "x"}).encode()
            try:
                status, answer, _ = ask(world.router.address, "POST", "/v1/feedback", body)
            except (OSError, http.client.HTTPException) as error:
                status, answer = 0, error
            if status == 202:
                accepted.append(f"{client}-{number}")
            else:
                failed[f"{status} {answer}"] += 1

    threads = [threading.Thread(target=send, args=(client,)) for client in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        wanted = len(accepted) + 200
        until(lambda wanted=wanted: world.turn() and len(accepted) > wanted, 60)
        os.kill(world.collector.pid, signal.SIGKILL)
    wanted = len(accepted) + 200
    until(lambda: world.turn() and len(accepted) > wanted, 60)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert {text.partition(" ")[0] for text in failed} <= {"503", "504"}  # told, so the client sends it again
    found = Counter(record["id"] for record in labels(world.folder))
    assert set(accepted) <= set(found)


def test_copies_are_logged_as_copies_in_rest_and_grpc(world: _World) -> None:
    world.turn(0, mirror=100)
    for number in range(20):
        body = json.dumps({"instances": [GOOD]}).encode()
        headers = {"x-request-id": f"rest-{number}", "x-trimtab-shadow": "true"}  # a client may not say so
        assert ask(world.router.address, "POST", "/v1/models/m:predict", body, headers=headers)[0] == 200
    kinds = {"weight": "FP64", "hindfoot": "FP64", "plot": "INT64"}
    fields = {"FP64": "fp64_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}
    inputs = [
        pb.ModelInferRequest.InferInputTensor(
            name=name, datatype=kind, shape=[1], contents=pb.InferTensorContents(**{fields[kind]: [value]})
        )
        for name, kind, value in [(name, kind, GOOD[name]) for name, kind in kinds.items()] + [("sex", "BYTES", b"M")]
    ]
    with grpc.insecure_channel(world.router.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for number in range(20):
            request = pb.ModelInferRequest(model_name="m", id=f"grpc-{number}", inputs=inputs)
            assert stub.ModelInfer(request, timeout=20, metadata=[("x-trimtab-shadow", "true")]).model_version == "1"
    until(lambda: len(predictions(world.folder)) >= 80)
    counted = Counter((one["version"], one["shadow"], one["protocol"]) for one in predictions(world.folder))
    assert counted == {("1", False, "v1"): 20, ("1", False, "grpc"): 20, ("2", True, "v1"): 20, ("2", True, "grpc"): 20}


def test_nothing_about_control_or_metrics_is_let_through(world: _World) -> None:
    for method, path in (
        ("GET", "/metrics"),
        ("POST", "/v2/repository/models/m/unload"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
    ):
        assert ask(world.router.address, method, path)[0] == 404
    status, answer, headers = ask(world.router.address, "POST", "/v1/models/m:predict", b'{"instances": [{"sex": 1}]}')
    assert (status, headers["x-trimtab-version"]) == (422, "1")
    assert "'sex' is 1; it must be text" in answer["error"]
