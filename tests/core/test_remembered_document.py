"""A loop.yaml that became invalid: what looks at a loop or steers it goes by the document that was last taken up."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from trimtab import wiring
from trimtab.cli.edits import Edits
from trimtab.cli.live import _turn_until, down, up
from trimtab.cli.opening import here, opened, opened_or_remembered, refuse_new_name
from trimtab.cli.show import history, reports
from trimtab.cli.status import status
from trimtab.cli.steer import wish
from trimtab.cli.training import run_once
from trimtab.decisions.state import LoopState
from trimtab.errors import DocumentRefused, Refused
from trimtab.loop.accepted import recall, remember
from trimtab.loop.home import Home
from trimtab.loop.owner import owning
from trimtab.ports.turns import Turn
from trimtab.spec.generate import SMALLEST

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loop that has run: version 1 serves, and something was seen of it."""
    (tmp_path / "loop.yaml").write_text(SMALLEST)
    monkeypatch.chdir(tmp_path)
    found = opened(None, None)
    home = found.home.make()
    remember(home, found.document, NOW)
    state = LoopState(champion="1", champion_since=NOW, trainings=1, last_training=NOW)
    seen = {
        "servers": {"1": {"state": "ready", "restarts": 2, "reason": ""}},
        "router": {"restarts": 3},
        "quality": {"live": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 120}}},
        "monitoring": {"time": NOW.isoformat(), "verdict": "healthy"},
        "counts": {"answers": 500, "labels": 130, "matured": 120, "early": 0, "duplicate_labels": 0, "unknown_ids": 0},
    }
    wiring.lasting_ledger(found.document, home).turns.commit(Turn(1, NOW, state.to_json(), seen))
    return tmp_path


def _break(project: Path) -> None:
    (project / "loop.yaml").write_text(SMALLEST.replace("classification", "clasification"))


def _status(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    status(None, None, True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_what_was_taken_up_is_what_is_recalled(project: Path) -> None:
    known = recall(Home(project / ".trimtab"))
    assert known is not None
    assert (known.document, known.time) == (opened(None, None).document, NOW)
    assert recall(Home(project / "nowhere")) is None
    (project / ".trimtab/accepted.json").write_text("{half")
    assert recall(Home(project / ".trimtab")) is None


@pytest.mark.parametrize("broken", ["invalid", "gone"])
def test_looking_and_steering_go_on(project: Path, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    _break(project) if broken == "invalid" else (project / "loop.yaml").unlink()
    assert _status(capsys)["champion"] == "1"
    for command in (
        lambda: history(None, None, 5, True),
        lambda: reports(None, None, False, True),
        lambda: down(None, None),
        lambda: wish("retrain", {}, None, None, True),
    ):
        command()
        (said,) = capsys.readouterr().err.splitlines()
        assert "2026-03-01 12:30" in said
        assert ("refused at present" if broken == "invalid" else "is not there") in said
    with pytest.raises(SystemExit):
        wish("rollback", {}, None, None, True)  # there is no way back: that is said, not the document
    with pytest.raises(SystemExit):
        wish("promote", {}, None, None, True)


def _rename(project: Path) -> str:
    """Give the loop another name; returns the old one."""
    old = opened(None, None).document.metadata.name
    (project / "loop.yaml").write_text(SMALLEST.replace(f"name: {old}", f"name: {old}2"))
    assert opened(None, None).document.metadata.name == f"{old}2"
    return old


def test_a_new_name_is_said_and_the_loop_that_there_is_goes_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = _rename(project)
    for command in (
        lambda: status(None, None, True),
        lambda: history(None, None, 5, True),
        lambda: reports(None, None, False, True),
        lambda: down(None, None),
        lambda: wish("retrain", {}, None, None, True),
    ):
        command()
        (said,) = capsys.readouterr().err.splitlines()
        assert f"is the state of {old}, which is meant here; a loop" in said
    with pytest.raises(SystemExit):
        wish("rollback", {}, None, None, True)  # refused at once: there is no way back
    seen = _status(capsys)
    assert (seen["loop"], seen["champion"]) == (old, "1")
    assert f"{old}2 needs a state folder of its own" in seen["document"]
    new = wiring.ledger(opened(None, None).document, Home(project / ".trimtab"))
    assert list(new.turns.open_wishes()) == []


def test_up_and_run_refuse_a_new_name_over_the_state_of_another_loop(project: Path) -> None:
    old = _rename(project)
    for command in (lambda: up(None, None, 0, 1.0), lambda: run_once(None, None, None, False)):
        with pytest.raises(Refused, match=f"is the state of {old}: .*--home"):
            command()
    found = opened(None, project / "other")
    refuse_new_name(found)  # a state folder of its own
    remember(found.home.make(), here(recall(Home(project / ".trimtab")).document), NOW)  # type: ignore[union-attr]
    refuse_new_name(found)  # nothing was done there yet


def test_a_new_name_while_the_loop_runs_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used, said = _live(project, monkeypatch, [SMALLEST.replace("name: ", "name: new-")])
    assert len(set(map(str, used))) == 1
    assert "has another name, so the loop" in said


def test_durations_are_written_as_in_the_document(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports(None, None, False, False)
    assert "one is made every 1d of traffic" in capsys.readouterr().out


def test_where_nothing_is_remembered_the_refusal_stands(project: Path) -> None:
    _break(project)
    (project / ".trimtab/accepted.json").unlink()
    with pytest.raises(DocumentRefused):
        opened_or_remembered(None, None)
    (project / "loop.yaml").unlink()
    with pytest.raises(Refused, match="trimtab init"):
        opened_or_remembered(None, None)


def test_a_wish_while_nobody_runs_the_loop_decides_nothing_else(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _status(capsys)
    with pytest.raises(SystemExit):
        wish("promote", {}, None, None, False)
    said = capsys.readouterr().out
    assert said.startswith("refuse: ")
    assert "takes effect" not in said
    after = _status(capsys)
    for kept in ("quality", "labels", "router", "champion", "training"):
        assert after[kept] == before[kept], kept
    ledger = wiring.ledger(opened(None, None).document, Home(project / ".trimtab"))
    last = ledger.turns.latest()
    assert last is not None
    assert last.observed["monitoring"]["verdict"] == "healthy"
    wish("retrain", {}, None, None, False)
    assert "takes effect with: trimtab up" in capsys.readouterr().out


def test_a_wish_in_an_empty_project_starts_nothing_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop.yaml").write_text(SMALLEST)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        wish("rollback", {}, None, None, True)
    assert _status(capsys)["training"] is None


def test_servers_are_not_ready_after_down_and_restarts_are_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(capsys)["servers"]["1"]["state"] == "stopped"
    with owning(project / ".trimtab/owner.json", "trimtab run"):
        assert _status(capsys)["servers"]["1"]["state"] == "stopped"
    with owning(project / ".trimtab/owner.json", "trimtab up"):
        assert _status(capsys)["servers"]["1"]["state"] == "ready"
        status(None, None, False)
    said = " ".join(capsys.readouterr().out.split())
    assert "version 1 ready, 2 restarts" in said
    assert "started again 3 times" in said


class _Loop:
    """As much of a loop as `_turn_until` uses, whose turns go well until the third ends the test."""

    def __init__(self, document: Any, world: Any, _every: Any = None) -> None:
        self.document, self.world = document, world

    def turn(self, _now: Any) -> Turn:
        self.world.turn(self.document)
        return Turn(1, NOW, LoopState().to_json(), {"servers": {}})

    def state(self) -> LoopState:
        return LoopState()

    def views(self) -> dict[str, Any]:
        return {}


def _live(project: Path, monkeypatch: pytest.MonkeyPatch, edits: list[str]) -> tuple[list[Any], str]:
    """Turns with an edit of loop.yaml after each; the documents they went by, and what was said."""
    stop, used, out = threading.Event(), [], StringIO()

    def turn(document: Any) -> None:
        used.append(document)
        if len(used) > len(edits):
            stop.set()
        else:
            (project / "loop.yaml").write_text(edits[len(used) - 1])

    monkeypatch.setattr("trimtab.cli.edits.Loop", _Loop)
    monkeypatch.setattr("trimtab.cli.edits.replace", lambda world, **_: world)
    found = opened(None, None)
    loop: Any = _Loop(found.document, SimpleNamespace(turn=turn))
    _turn_until(stop, loop, Console(file=out, width=500), 0.0, found.home, Edits(found, timedelta(0)))
    return used, out.getvalue()


def test_an_invalid_edit_is_said_once_and_the_loop_goes_on_by_the_one_before(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = SMALLEST.replace("classification", "clasification")
    before = opened(None, None).document
    used, said = _live(project, monkeypatch, [broken, broken + "\n", SMALLEST])
    assert used == [before] * 4
    assert said.count("is refused, so the loop goes on") == 2  # it was edited twice
    assert "clasification" in said
    _break(project)
    assert "refused at present" in _status(capsys)["document"]


def test_a_valid_edit_is_in_force_with_the_next_turn(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = SMALLEST.replace("spec:\n", "spec:\n  retraining: {cooldown: 3d}\n")
    used, said = _live(project, monkeypatch, [edited, edited])
    assert [one.spec.retraining.cooldown.days for one in used] == [7, 3, 3]
    assert said.count("in force from this turn on") == 1
    known = recall(Home(project / ".trimtab"))
    assert known is not None
    assert known.document == used[-1]


def test_an_edit_that_needs_other_servers_waits_for_the_next_up(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = SMALLEST.replace("spec:\n", "spec:\n  serving: {port: 9999}\n")
    used, said = _live(project, monkeypatch, [edited, edited])
    assert len(set(map(str, used))) == 1
    assert "takes effect with the next trimtab up, as it changes spec.serving" in said
    with owning(project / ".trimtab/owner.json", "trimtab up"):
        assert "with the next trimtab up spec.serving" in _status(capsys)["document"]
