"""A real Envoy under load and under faults."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters.process import Identity
from trimtab.adapters.router.envoy import EnvoyRouter
from trimtab.errors import TrimtabError
from trimtab.ports.router import NOBODY, Routes, Target
from trimtab.spec.serving import Serving
from trimtab.testing.envoy_world import EnvoyWorld, Load, ask, until

pytestmark = pytest.mark.local


@pytest.fixture
def world(tmp_path: Path) -> Iterator[EnvoyWorld]:
    world = EnvoyWorld(tmp_path)
    yield world
    world.close()


def test_thirty_live_changes_lose_nothing(world: EnvoyWorld) -> None:
    stable, candidate = world.server("1"), world.server("2")
    world.router.apply(Routes(stable))
    with Load(world.router.address) as load:
        for number in range(30):
            world.router.apply(Routes(stable, candidate, number * 100 // 29, 100 if number < 5 else 0))
            load.await_more(30)
        world.router.apply(Routes(candidate))
        load.await_more(30)
    assert load.lost == {}
    assert min(load.answers["1"], load.answers["2"]) > 100
    counted = world.router.traffic()
    assert sum(count.requests for count in counted.values()) == load.count
    assert sum(count.failures for count in counted.values()) == 0


def test_a_server_that_comes_back_on_another_port_loses_nothing(world: EnvoyWorld) -> None:
    old = world.server("1")
    world.router.apply(Routes(old))
    first = world.servers.pop("1")
    with Load(world.router.address) as load:
        load.await_more(50)
        world.router.apply(Routes(world.server("1")))
        load.await_more(50)  # requests whose route was chosen before have ended: the supervisor waits for them too
        first.terminate()
        first.communicate()
        load.await_more(200)
    assert load.lost == {}


def test_every_request_is_copied_to_the_shadow(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1"), world.server("2"), 0, 100))
    for number in range(100):
        assert world.send(f"c-{number}") == "1"
    until(lambda: len(world.counts("2")["copies"]) >= 100)
    assert Counter(world.counts("2")["copies"]) == Counter(f"c-{number}" for number in range(100))
    assert world.counts("2")["ids"] == []


def test_a_client_cannot_pass_for_a_copy_or_set_the_routers_headers(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1")))
    forged = {"Host": "x-shadow", "x-envoy-attempt-count": "7", "x-envoy-max-retries": "50", "x-trimtab-picked": "9"}
    seen = ask(world.router.address, "POST", "/v1/models/m:predict", headers=forged)[1]["headers"]
    assert (seen["host"], seen["x-envoy-attempt-count"], seen["x-trimtab-picked"]) == ("trimtab", "1", "1")
    assert "x-envoy-max-retries" not in seen
    assert list(world.router.traffic()) == ["1"]


@pytest.mark.parametrize("fault", ["killed", "error", "hang"])
def test_a_bad_candidate_at_half_the_traffic_costs_no_answer(world: EnvoyWorld, fault: str) -> None:
    world.router.apply(Routes(world.server("1"), world.server("2"), 50))
    with Load(world.router.address) as load:
        load.await_more(100)
        if fault == "killed":
            world.kill("2")
        else:
            world.mode("2", fault)
        load.await_more(500)
    assert load.lost == {}
    assert load.slowest_seconds < 5  # one time limit (1 s) and a little
    counted = world.router.traffic()
    assert counted["2"].failures > 100
    assert counted["1"].failures == 0


def test_the_stable_server_killed_in_a_release_costs_no_answer(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1"), world.server("2"), 10))
    with Load(world.router.address) as load:
        load.await_more(100)
        world.kill("1")
        load.await_more(300)
    assert load.lost == {}


def test_the_only_server_killed_is_answered_with_503_until_it_is_back(world: EnvoyWorld) -> None:
    target = world.server("1")
    world.router.apply(Routes(target))
    world.kill("1")
    status, answer, _ = ask(world.router.address, "POST", "/v1/models/m:predict")
    assert status == 503
    assert "no server of this model" in answer["error"]
    world.server("1", int(target.address.rpartition(":")[2]))
    until(lambda: world.send("back") == "1", 5)


def test_the_only_server_is_tried_even_if_its_health_checks_fail(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1")))
    world.mode("1", "unready")
    until(lambda: "health_flags::/failed_active_hc" in world.router._admin.get("/clusters"))
    assert world.send("busy") == "1"


def test_envoy_killed_with_9_is_restored_by_the_next_apply(world: EnvoyWorld) -> None:
    routes = Routes(world.server("1"), world.server("2"), 50, 0)
    world.router.apply(routes)
    address = world.router.address
    for number in range(20):
        world.send(f"before-{number}")
    before = world.router.traffic()
    world.kill_envoy()
    world.router.apply(routes)
    assert world.router.address == address
    assert {world.send(f"after-{number}") for number in range(40)} == {"1", "2"}
    after = world.router.traffic()
    assert sum(count.requests for count in after.values()) == sum(count.requests for count in before.values()) + 40
    assert after["1"].epoch == before["1"].epoch


def test_a_silent_envoy_is_replaced(world: EnvoyWorld) -> None:
    routes = Routes(world.server("1"))
    world.router.apply(routes)
    stopped = world.router.pid
    os.kill(stopped, signal.SIGSTOP)
    for _ in range(3):
        world.router.apply(routes)
    assert world.router.pid not in (0, stopped)
    assert world.send("again") == "1"


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        router = EnvoyRouter(tmp_path, Serving(port=port))
        with pytest.raises(TrimtabError, match=rf"port {port} on 127.0.0.1 is taken.*serving.port"):
            router.apply(Routes())
        assert router.address == ""
    router.apply(Routes())  # free now
    try:
        assert router.address == f"127.0.0.1:{port}"
        second = EnvoyRouter(tmp_path / "second", Serving(port=port))
        with pytest.raises(TrimtabError, match="is taken"):
            second.apply(Routes())
    finally:
        router.close()


def test_only_the_owner_can_open_the_admin_socket_and_no_port_has_it(world: EnvoyWorld, tmp_path: Path) -> None:
    world.router.apply(Routes(world.server("1")))
    mode = (tmp_path / "router" / "admin.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE((tmp_path / "router").stat().st_mode) == 0o700
    for path in (
        "/stats",
        "/quitquitquit",
        "/metrics",
        "/v2/repository/models/m/unload",
        "/v2/models/m/../../repository/index",
    ):
        assert ask(world.router.address, "POST", path)[0] == 404


def test_a_body_over_the_limit_is_refused_with_a_sentence(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1")))
    assert ask(world.router.address, "POST", "/v1/models/m:predict", b"x" * 99_000)[1]["bytes"] == 99_000
    status, answer, _ = ask(world.router.address, "POST", "/v1/models/m:predict", b"x" * 100_001)
    assert status == 413
    assert "maxBodyBytes" in answer["error"]


def test_labels_go_to_the_collector_and_503_without_one(world: EnvoyWorld) -> None:
    assert world.router.apply(Routes()) is None
    status, answer, _ = ask(world.router.address, "POST", "/v1/feedback")
    assert status == 503
    assert "labels" in answer["error"]
    world.router.apply(Routes(feedback=world.server("collector").address))
    assert ask(world.router.address, "POST", "/v1/feedback")[1]["path"] == "/v1/feedback"
    assert world.router.traffic() == {}


def test_health_and_metadata_are_no_predictions(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1")))
    for path in ("/v2/health/ready", "/v2/models/m", "/v1/models/m", "/v2"):
        assert ask(world.router.address, "GET", path)[0] == 200
    assert world.router.traffic() == {}


def test_predictions_that_no_version_could_answer_are_counted_and_forged_headers_change_nothing(
    world: EnvoyWorld,
) -> None:
    world.router.apply(Routes())
    assert ask(world.router.address, "POST", "/v1/models/m:predict", headers={"x-trimtab-picked": "9"})[0] == 503
    assert ask(world.router.address, "GET", "/v1/models/m")[0] == 503  # no prediction
    found = world.router.traffic()
    assert {version: (one.requests, one.failures) for version, one in found.items()} == {NOBODY: (1, 1)}


def test_the_next_router_counts_nothing_twice(tmp_path: Path) -> None:
    for _ in range(2):
        router = EnvoyRouter(tmp_path / "router", Serving(port=0))
        try:
            router.apply(Routes())
            assert ask(router.address, "POST", "/v1/models/m:predict")[0] == 503
            assert router.traffic()[NOBODY].failures == 1
        finally:
            router.close()


def test_counts_survive_the_rotation_of_the_access_log(world: EnvoyWorld, tmp_path: Path) -> None:
    routes = Routes(world.server("1"))
    world.router.apply(routes)
    world.router._log._most_bytes = 5000
    for number in range(200):
        world.send(f"r-{number}")
        if number % 20 == 0:
            world.router.apply(routes)
    assert world.router.traffic()["1"].requests == 200
    assert (tmp_path / "router" / "access.jsonl.1").exists()
    assert (tmp_path / "router" / "access.jsonl").stat().st_size < 40_000


def test_close_lets_requests_under_way_end(world: EnvoyWorld) -> None:
    world.router.apply(Routes(world.server("1")))
    world.mode("1", "slow")
    with Load(world.router.address, clients=1) as load:
        until(world.router._admin.requests_under_way)
        world.router.close()
        until(lambda: load.count > 0)
    assert load.answers["1"] == 1


_CONTROLLER = """
import sys, json
from pathlib import Path
from trimtab.adapters.router.envoy import EnvoyRouter
from trimtab.ports.router import Routes
from trimtab.spec.serving import Serving
router = EnvoyRouter(Path(sys.argv[1]), Serving(port=int(sys.argv[2])))
router.apply(Routes())
print(json.dumps([router.pid, router.address]), flush=True)
sys.stdin.read()
"""


def test_envoy_dies_with_its_controller_and_the_next_one_takes_the_port(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _CONTROLLER, str(tmp_path / "router"), "0"]
    controller = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid, address = json.loads(controller.stdout.readline())
    identity = Identity.of(pid)
    assert identity is not None
    controller.kill()
    controller.communicate()
    until(lambda: Identity.of(pid) != identity, 5)
    router = EnvoyRouter(tmp_path / "router", Serving(port=int(address.rpartition(":")[2])))
    try:
        router.apply(Routes(Target("1", "127.0.0.1:1")))
        assert router.address == address
    finally:
        router.close()
