"""The whole way of a request: Envoy, real model servers, prediction log; while shares change and servers die."""

import contextlib
import http.client
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from serving_processes import GOOD, ask, gated, labels, predict, predictions, until
from serving_world import PATIENCE, Clients, World, check

from trimtab.adapters.servers.process import ProcessServers
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Serving
from trimtab.testing import bundles

pytestmark = [pytest.mark.local, pytest.mark.slow]


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[ServerRequest]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {version: bundles.make(folder / version, seed=int(version)) for version in ("1", "2")}
    return [ServerRequest(version, one.folder, one.digest) for version, one in made.items()]


@pytest.fixture
def world(tmp_path: Path, requests: list[ServerRequest]) -> Iterator[World]:
    world = World(tmp_path, requests)
    try:
        until(world.all_ready, 90)
        yield world
    finally:
        world.close()


def test_shares_change_live_under_load_and_nothing_is_lost(world: World) -> None:
    world.turn(0)
    with Clients(world.router.address) as clients:
        for percent in (0, 5, 50, 100, 50, 0, 25, 75, 50):
            world.turn(percent)
            world.await_more(clients, 60)
    check(world, clients)
    shares = Counter(version for version, _ in clients.answered.values())
    assert min(shares["1"], shares["2"]) > 60


def _kill(view: ServerView) -> None:
    os.kill(view.pid, signal.SIGKILL)


def _hang(view: ServerView) -> None:
    os.kill(view.pid, signal.SIGSTOP)


@pytest.mark.parametrize(("victim", "harm"), [("2", _kill), ("1", _kill), ("2", _hang)])
def test_a_server_killed_or_hanging_under_load_costs_no_answer(
    world: World, victim: str, harm: Callable[[ServerView], None]
) -> None:
    world.turn(50)
    with Clients(world.router.address) as clients:
        world.await_more(clients, 200)
        before = world.views[victim]
        harm(before)
        world.await_more(clients, 300)
        until(lambda: world.turn()[victim].pid not in (0, before.pid) and world.all_ready(), 60)
        world.await_more(clients, 100)
    assert clients.slowest_seconds < 10
    check(world, clients)


def test_envoy_killed_under_load_is_back_and_no_answer_is_lost_from_the_log(world: World) -> None:
    world.turn(50)
    with Clients(world.router.address) as clients:
        world.await_more(clients, 200)
        before = world.router.pid
        os.kill(before, signal.SIGKILL)
        until(lambda: world.turn() and world.router.pid not in (0, before), 30)
        answered = len(clients.answered)
        until(lambda: world.turn() and len(clients.answered) > answered + 200, 60)
    check(world, clients, front_door_died=True)


def test_a_server_that_wakes_up_late_does_not_change_what_was_answered(world: World) -> None:
    world.turn(50)
    with Clients(world.router.address) as clients:
        world.await_more(clients, 50)
        pid = world.views["2"].pid
        os.kill(pid, signal.SIGSTOP)
        seen = clients.count
        until(lambda: clients.count > seen + 100, 60)
        os.kill(pid, signal.SIGCONT)  # it now answers what it was asked before, and logs it
        world.await_more(clients, 100)
    check(world, clients)
    assert any(record["attempt"] > 1 for record in predictions(world.folder))


def test_a_model_that_hangs_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for gated_estimator
    gate = tmp_path / "gate"
    made = gated(bundles.make(tmp_path / "b"), tmp_path / "gated", gate)
    wanted = ServerRequest("1", made.folder, made.digest)
    patience = replace(PATIENCE, silent_probes=2)
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


def test_accepted_labels_survive_the_death_of_the_log_writer(world: World) -> None:
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


def test_copies_are_logged_as_copies_in_rest_and_grpc(world: World) -> None:
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


def test_nothing_about_control_or_metrics_is_let_through(world: World) -> None:
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
