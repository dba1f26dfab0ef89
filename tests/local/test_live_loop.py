"""The loop as its user runs it: init, run, up, predict, label, look, steer, stop, and being killed."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from commands import Up, csv, post, told, trimtab, until, up

pytestmark = [pytest.mark.local, pytest.mark.slow]

ROW = {"weight": 44.0, "hindfoot": 26.0, "sex": "F", "plot": 3, "version": "field book 3"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a loop.yaml and a first version."""
    folder = tmp_path_factory.mktemp("project")
    csv(folder)
    trimtab(folder, "init", "--label", "genus")
    trimtab(folder, "run")
    return folder


@pytest.fixture
def running(project: Path) -> Iterator[Up]:
    """The loop, up and ready."""
    with up(project) as found:
        assert found.address
        yield found


def _predict(running: Up, id_: str, row: dict[str, object] | None = None) -> tuple[int, dict[str, object]]:
    url = f"{running.address}/v1/models/rodents:predict"
    return post(url, {"instances": [row or ROW]}, {"x-request-id": id_})


def test_a_prediction_and_its_label_are_seen_in_status(running: Up, project: Path) -> None:
    status, answer = _predict(running, "first")
    assert (status, answer["predictions"], answer["ids"]) == (200, ["Dipodomys"], ["first"])
    assert post(f"{running.address}/v1/feedback", {"id": "first", "label": "Dipodomys"}) == (202, {"accepted": 1})
    seen = until(lambda: found if (found := told(project, "status"))["labels"].get("matured") else None)
    assert seen["quality"]["accuracy"]["value"] == 1.0
    assert seen["champion"] == answer["version"]
    assert seen["owner"]["pid"] == running.process.pid


def test_a_row_that_breaks_the_contract_is_refused_with_the_field(running: Up) -> None:
    status, answer = _predict(running, "bad", {**ROW, "weight": "heavy"})
    assert status == 422
    assert "'weight'" in str(answer["error"])


def test_a_second_up_is_refused_with_the_owners_pid(running: Up, project: Path) -> None:
    said = trimtab(project, "up", code=1)
    assert f"process {running.process.pid}" in said


def test_a_retraining_that_is_asked_for_is_released_and_can_be_rolled_back(running: Up, project: Path) -> None:
    before = told(project, "status")["champion"]
    answer = told(project, "retrain", "--why", "new data")
    assert answer["kind"] == "retrain"
    candidate = until(lambda: told(project, "status")["candidate"])
    until(lambda: told(project, "status")["servers"].get(candidate, {}).get("state") == "ready")
    promoted = until(lambda: found if "promoted" in (found := trimtab(project, "promote")) else None)
    assert f"Version {candidate}" in promoted
    until(lambda: _predict(running, "now")[1]["version"] == candidate)
    trimtab(project, "rollback")
    until(lambda: _predict(running, "back")[1]["version"] == before)
    kinds = [one["kind"] for one in told(project, "history")]
    assert kinds[-1] == "roll-back"
    assert "start" in kinds


def test_turns_that_fail_are_seen_in_status_until_one_succeeds(project: Path) -> None:
    in_the_way = project / ".trimtab/router/envoy.json.new"  # a folder where the router writes a file
    in_the_way.mkdir(parents=True)
    with up(project) as running:
        failing = until(lambda: told(project, "status")["failing"])
        assert "envoy.json" in failing["sentence"]
        assert "the last turn failed" in trimtab(project, "status")
        in_the_way.rmdir()
        assert running.address
        until(lambda: told(project, "status")["failing"] is None)
        until(lambda: "ready" in {one["state"] for one in told(project, "status")["servers"].values()})
        running.stop()
    assert {one["state"] for one in told(project, "status")["servers"].values()} == {"stopped"}


def test_a_port_that_is_taken_is_refused_before_anything_is_started(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = trimtab(project, "up", "--port", port, code=1)
    assert f"port {port} on 127.0.0.1 is taken by another program" in said
    assert "failed" not in said
    assert told(project, "status")["owner"] is None


def test_ctrl_c_stops_every_process(project: Path) -> None:
    with up(project) as running:
        assert running.address
        family = running.family()
        assert len(family) >= 3  # a model server, the collector, Envoy
        assert running.stop(signal.SIGINT) == 0
        _gone, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    assert told(project, "status")["owner"] is None


def test_kill_9_of_the_controller_leaves_nothing_running_and_loses_nothing(project: Path) -> None:
    with up(project) as running:
        ids = [f"killed-{number}" for number in range(20)]
        assert [_predict(running, id_)[0] for id_ in ids] == [200] * 20
        family = running.family()
        running.stop(signal.SIGKILL)
        _gone, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    with up(project) as again:
        for id_ in ids:
            assert post(f"{again.address}/v1/feedback", {"id": id_, "label": "Dipodomys"})[0] == 202
        until(lambda: told(project, "status")["labels"].get("matured", 0) >= 20)
        assert told(project, "status")["labels"]["unknown_ids"] == 0


def test_a_killed_server_collector_and_envoy_come_back(running: Up, project: Path) -> None:
    killed = 0
    for process in running.family():
        command = " ".join(process.cmdline())
        if any(part in command for part in ("kserve.server", "collector", "envoy")):
            process.kill()
            killed += 1
    assert killed >= 3
    give_up = time.monotonic() + 60
    while True:
        try:
            if _predict(running, "after")[0] == 200:
                break
        except OSError:  # Envoy is not back yet
            pass
        assert time.monotonic() < give_up
        time.sleep(0.1)
    until(lambda: post(f"{running.address}/v1/feedback", {"id": "after", "label": "Dipodomys"})[0] == 202)
    for part in ("the server of version", "the collector of labels is", "the router was started"):
        until(lambda part=part: part in running.said)


def test_down_stops_it_from_elsewhere(project: Path) -> None:
    with up(project) as running:
        assert running.address
        assert str(running.process.pid) in trimtab(project, "down")
        assert running.process.wait(30) == 0
    assert "nothing runs" in trimtab(project, "down")
