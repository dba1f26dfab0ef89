"""`trimtab up` killed with 9 at every step of a release, under traffic that never stops."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from commands import csv, post, trimtab, until, up

from trimtab import wiring
from trimtab.adapters.listening import free_port
from trimtab.cli.opening import Opened, opened
from trimtab.decisions.state import LoopState

pytestmark = [pytest.mark.local, pytest.mark.slow]

ROW = {"weight": 44.0, "hindfoot": 26.0, "sex": "F", "plot": 3, "version": "field book 3"}
TRUTH = "Dipodomys"
RELEASE = {"steps": [30, 60], "stepLeast": "1s", "evidence": {"leastRequests": 10, "leastLabels": 10}}


class Traffic:
    """One request after another, each followed by its label; what was acknowledged is remembered."""

    def __init__(self, port: int) -> None:
        self._url, self._stop = f"http://127.0.0.1:{port}/v1", threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.acknowledged: dict[str, str] = {}  # id: version that answered
        self.wrong: list[object] = []

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _send(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                self._one(f"r-{number}")
            except (OSError, ValueError):  # the front door was killed: no answer at all
                time.sleep(0.05)

    def _one(self, id_: str) -> None:
        status, answer = post(f"{self._url}/models/rodents:predict", {"instances": [ROW]}, {"x-request-id": id_})
        if status == 200:
            if answer["predictions"] != [TRUTH] or answer["ids"] != [id_] or answer["version"] not in ("1", "2"):
                self.wrong.append(answer)
            self.acknowledged[id_] = answer["version"]
            post(f"{self._url}/feedback", {"id": id_, "label": TRUTH})
        elif status != 503 or not answer.get("error"):
            self.wrong.append((status, answer))
        time.sleep(0.02)


def _stage(found: Opened) -> str:
    """How far the release is: shadow, 30, 60 or promoted."""
    last = wiring.ledger(found.document, found.home).turns.latest()
    assert last is not None
    state = LoopState.from_json(last.state)
    if state.champion == "2":
        return "promoted"
    assert state.release is not None, [one["sentence"] for one in last.decisions]
    return str(state.release.candidate_percent) if state.release.phase == "canary" else state.release.phase


def _project(folder: Path) -> Opened:
    """Version 1 serves, version 2 waits to be released."""
    csv(folder)
    trimtab(folder, "init", "--label", "genus")
    document = yaml.safe_load((folder / "loop.yaml").read_text())
    document["spec"]["release"] = RELEASE
    document["spec"]["data"]["label"]["delay"] = "0s"
    document["spec"]["training"] = {"estimator": "DecisionTreeClassifier"}
    (folder / "loop.yaml").write_text(yaml.safe_dump(document))
    trimtab(folder, "run")
    trimtab(folder, "run")
    found = opened(folder, None)
    assert _stage(found) == "shadow"
    return found


def test_a_controller_killed_at_every_step_of_a_release_costs_no_answer_that_was_given(tmp_path: Path) -> None:
    found, port = _project(tmp_path), free_port()
    traffic = Traffic(port)
    with traffic.flowing():
        for stage in ("shadow", "30", "60", "promoted"):
            with up(tmp_path, "--port", str(port)) as running:
                before = len(traffic.acknowledged)
                until(lambda: _stage(found) == stage, 60)  # noqa: B023 - done before the next one
                until(lambda: len(traffic.acknowledged) > before + 5, 60)  # noqa: B023
                assert _stage(found) in (stage, {"shadow": "30", "30": "60", "60": "promoted"}.get(stage))
                running.stop(signal.SIGKILL)
        with up(tmp_path, "--port", str(port)):
            until(lambda: list(traffic.acknowledged.values())[-3:] == ["2"] * 3, 60)
    assert traffic.wrong == []
    assert set(traffic.acknowledged.values()) == {"1", "2"}
    _all_are_logged(found, traffic.acknowledged)
    decided = [one["kind"] for one in wiring.ledger(found.document, found.home).turns.newest_decisions(100)]
    kept = [kind for kind in reversed(decided) if kind in ("start", "step", "promote", "roll-back", "reject")]
    assert kept == ["promote", "start", "step", "step", "promote"]


def _all_are_logged(found: Opened, acknowledged: dict[str, str]) -> None:
    """Each answer that a client was given is in the log, once, as it was given."""
    always = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    told = wiring._logs(found.home)[0].read(*always).to_pylist()
    logged: dict[str, list[str]] = {}
    for record in told:
        if not record["shadow"]:
            logged.setdefault(record["id"], []).append(record["version"])
    assert {id_ for id_ in acknowledged if id_ not in logged} == set()
    assert [id_ for id_, version in acknowledged.items() if logged[id_][-1:] != [version]] == []
