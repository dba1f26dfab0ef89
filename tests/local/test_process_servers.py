"""Supervised processes: deaths, hangs, orphans, and stopping without losing what was taken."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from trimtab.adapters.process import ChildProcess, Identity, end_orphan, last_lines, trim_log
from trimtab.adapters.servers.collector import CollectorProcess
from trimtab.adapters.servers.process import ProcessServers
from trimtab.adapters.supervision import Patience
from trimtab.errors import Refused, TrimtabError
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest
from trimtab.spec.serving import Limits, Serving
from trimtab.testing.envoy_world import EnvoyWorld, Load, ask, until
from trimtab.testing.model_servers import ready, request

pytestmark = pytest.mark.local
_FAKE = (sys.executable, "-m", "trimtab.testing.fake_server")
_QUICK = Patience(pause_seconds=0.05, drain_seconds=0.3, probe_every_seconds=0.05, probe_seconds=0.3, stop_seconds=3)
Make = Callable[..., ProcessServers]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made = []

    def build(patience: Patience = _QUICK, **more: object) -> ProcessServers:
        given = {
            "name": "m",
            "serving": Serving(),
            "prediction_log": tmp_path / "predictions",
            "command": _FAKE,
            **more,
        }
        made.append(ProcessServers(tmp_path / "servers", patience=patience, **given))
        return made[-1]

    yield build
    for servers in made:
        servers.close()


def test_a_hanging_server_is_killed_and_started_again(make: Make, tmp_path: Path) -> None:
    servers, wanted = make(), request(tmp_path, "1")
    before = ready(servers, wanted)["1"]
    os.kill(before.pid, signal.SIGSTOP)
    until(lambda: servers.ensure([wanted])["1"].state != "ready")
    view = servers.ensure([wanted])["1"]
    assert "no answer to 3 probes" in view.reason
    after = ready(servers, wanted)["1"]
    assert after.restarts == 1
    assert Identity.of(before.pid) is None


def test_a_restarted_server_keeps_its_port_so_the_router_finds_it(make: Make, tmp_path: Path) -> None:
    servers, wanted = make(), request(tmp_path, "1")
    before = ready(servers, wanted)["1"]
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: servers.ensure([wanted])["1"].pid != before.pid)
    assert ready(servers, wanted)["1"].address == before.address


def test_a_server_that_is_never_ready_fails_and_says_so(make: Make, tmp_path: Path) -> None:
    servers, wanted = make(replace(_QUICK, start_seconds=0.5)), request(tmp_path, "1", "starting")
    until(lambda: servers.ensure([wanted])["1"].state == "failed")
    view = servers.ensure([wanted])["1"]
    assert "not ready 0.5 s after its start" in view.reason
    assert "version 1 listens" in view.reason
    assert view.pid == 0


def test_a_failed_server_is_tried_again_later(make: Make, tmp_path: Path) -> None:
    servers, wanted = make(replace(_QUICK, longest_pause_seconds=0.3)), request(tmp_path, "1", "die")
    until(lambda: servers.ensure([wanted])["1"].state == "failed")
    (wanted.bundle / "fault").write_text("")
    assert ready(servers, wanted)["1"].restarts == 3


def test_ensure_never_waits_for_a_server(make: Make, tmp_path: Path) -> None:
    servers, wanted = make(replace(_QUICK, probe_seconds=5.0)), request(tmp_path, "1")
    view = ready(servers, wanted)["1"]
    os.kill(view.pid, signal.SIGSTOP)
    done = threading.Event()

    def look() -> None:
        for _ in range(20):
            servers.ensure([wanted])
        done.set()

    threading.Thread(target=look, daemon=True).start()
    assert done.wait(4)


def test_the_command_line_is_the_servers(make: Make, tmp_path: Path) -> None:
    tell = "import sys, json; print(json.dumps(sys.argv[1:])); sys.exit(1)"
    serving = Serving.model_validate({"limits": {"maxRows": 7}, "log": {"scores": False, "whenFull": "serve"}})
    servers = make(command=(sys.executable, "-c", tell), serving=serving, accept_time_header=True)
    wanted = ServerRequest("v-1", tmp_path / "b", "sha256:ab")
    until(lambda: servers.ensure([wanted])["v-1"].state == "failed")
    line = json.loads(last_lines(tmp_path / "servers" / "v-1" / "server.log", 1))
    options = dict(zip(line[:-2:2], line[1:-2:2], strict=True))
    ports = {options.pop("--http-port"), options.pop("--grpc-port")}
    assert len(ports) == 2
    assert options == {
        "--name": "m",
        "--version": "v-1",
        "--bundle": str(tmp_path / "b"),
        "--digest": "sha256:ab",
        "--log-dir": str(tmp_path / "predictions"),
        "--host": "127.0.0.1",
        "--max-rows": "7",
        "--max-batch-rows": "64",
        "--max-body-bytes": str(4 * 1024 * 1024),
        "--when-full": "serve",
    }
    assert line[-2:] == ["--no-scores", "--accept-time-header"]


def test_a_version_that_is_no_folder_name_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot name a folder"):
        make().ensure([ServerRequest("../1", tmp_path, "sha256:ab")])


def test_exchanging_versions_behind_envoy_under_load_loses_nothing(make: Make, tmp_path: Path) -> None:
    servers, world = make(), EnvoyWorld(tmp_path)
    requests = [request(tmp_path, str(number)) for number in range(4)]

    def turn(stable: ServerRequest, candidate: ServerRequest | None, percent: int) -> None:
        wanted = [found for found in (stable, candidate) if found]
        views = ready(servers, *wanted)
        targets = [Target(found.version, views[found.version].address) for found in wanted]
        world.router.apply(Routes(*targets, candidate_percent=percent))

    try:
        turn(requests[0], None, 0)
        with Load(world.router.address) as load:
            for old, new in pairwise(requests):
                for percent in (0, 50, 100):
                    turn(old, new, percent)
                    load.await_more(20)
                turn(new, None, 0)
                load.await_more(20)
                gone = tmp_path / "servers" / old.version / "process.json"
                until(lambda gone=gone, new=new: servers.ensure([new]) and not gone.exists())
        assert load.lost == {}
        assert set(load.answers) == {"0", "1", "2", "3"}
    finally:
        world.close()


def test_the_stable_server_killed_alone_is_back_behind_the_router(make: Make, tmp_path: Path) -> None:
    servers, world, wanted = make(serving=Serving(limits=Limits())), EnvoyWorld(tmp_path), request(tmp_path, "1")
    try:
        view = ready(servers, wanted)["1"]
        world.router.apply(Routes(Target("1", view.address)))
        os.kill(view.pid, signal.SIGKILL)
        assert world.send("at once") is None
        until(lambda: servers.ensure([wanted])["1"].pid not in (0, view.pid))
        until(lambda: world.send("again") == "1")
    finally:
        world.close()


_CONTROLLER = """
import sys, json
from pathlib import Path
from trimtab.adapters.process import ChildProcess
folder = Path(sys.argv[1])
command = [sys.executable, "-c", sys.argv[2]]
child = ChildProcess(command, folder=folder, log=folder / "log", record=folder / "process.json")
print(child.pid, flush=True)
sys.stdin.read()
"""
_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(600)
"""


def _controller(folder: Path) -> tuple[subprocess.Popen[str], Identity]:
    command = [sys.executable, "-c", _CONTROLLER, str(folder), _STUBBORN]
    controller = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    identity = Identity.of(int(controller.stdout.readline()))
    assert identity is not None
    until(lambda: "up" in last_lines(folder / "log"))
    return controller, identity


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    controller, child = _controller(tmp_path)
    controller.kill()
    controller.communicate()
    until(lambda: Identity.of(child.pid) != child, 5)


def _child(folder: Path, code: str) -> ChildProcess:
    return ChildProcess([sys.executable, "-c", code], folder=folder, log=folder / "log", record=folder / "process.json")


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: started.append(_child(tmp_path, _STUBBORN)))
    thread.start()
    thread.join()
    until(lambda: "up" in last_lines(tmp_path / "log"))
    assert not started[0].wait(0.3)
    started[0].stop(0.2)
    assert started[0].ending() == "killed by SIGKILL"


def test_stopping_asks_first_and_kills_after_the_time(tmp_path: Path) -> None:
    polite = _child(tmp_path / "a", "import time; print('up', flush=True); time.sleep(600)")
    until(lambda: "up" in last_lines(tmp_path / "a" / "log"))
    polite.stop(5)
    assert polite.ending() == "killed by SIGTERM"
    assert not (tmp_path / "a" / "process.json").exists()
    stubborn = _child(tmp_path / "b", _STUBBORN)
    until(lambda: "up" in last_lines(tmp_path / "b" / "log"))
    stubborn.stop(0.2)
    assert stubborn.ending() == "killed by SIGKILL"


def test_an_orphan_is_ended_but_never_another_process_with_its_pid(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        identity = Identity.of(bystander.pid)
        assert identity is not None
        record = tmp_path / "process.json"
        for wrong in (replace(identity, started=identity.started + 1), replace(identity, boot="another boot")):
            record.write_text(json.dumps(wrong.__dict__))
            assert not end_orphan(record)
            assert bystander.poll() is None
            assert not record.exists()
        record.write_text(json.dumps(identity.__dict__))
        assert end_orphan(record)
        assert bystander.wait(5) == -signal.SIGTERM
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": 1, "boot": ""}'])
def test_a_damaged_record_ends_nobody(tmp_path: Path, text: str) -> None:
    record = tmp_path / "process.json"
    record.write_text(text)
    assert not end_orphan(record)
    assert not end_orphan(record)


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    child = ChildProcess(["/no/such/program"], folder=tmp_path, log=tmp_path / "log", record=tmp_path / "process.json")
    assert child.wait(10)
    assert "No such file" in child.last_lines()
    (tmp_path / "file").write_text("")
    with pytest.raises(TrimtabError, match="cannot start"):
        ChildProcess(["true"], folder=tmp_path / "file", log=tmp_path / "log", record=tmp_path / "process.json")


def test_logs_are_kept_small(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 1000 + b"end")
    trim_log(log, 2000)
    assert log.stat().st_size == 1003
    trim_log(log, 500)
    assert log.stat().st_size == 0
    assert (tmp_path / "log.1").read_bytes().endswith(b"end")


def test_the_collector_is_kept_alive_and_labels_find_it(tmp_path: Path) -> None:
    collector = CollectorProcess(tmp_path / "c", home=tmp_path, command=(*_FAKE, "--version", "c"), patience=_QUICK)
    try:
        assert collector.ensure() == ""
        until(collector.ensure)
        assert ask(collector.ensure(), "GET", "/healthz")[0] == 200
        before = collector.pid
        os.kill(before, signal.SIGKILL)
        until(lambda: collector.ensure() and collector.pid not in (0, before))
    finally:
        collector.close()
    assert collector.pid == 0
