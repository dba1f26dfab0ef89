"""What `trimtab up` says of the parts that run: once, when it changes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from trimtab.cli.changes import Changes
from trimtab.decisions.state import LoopState
from trimtab.ports.turns import Turn

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
DIED = "killed by SIGKILL; its log ends: a\nb. Its log: /x/server.log"


def _turn(state: LoopState | None = None, **seen: Any) -> Turn:
    return Turn(1, NOW, (state or LoopState(champion="1")).to_json(), seen)


def _server(state: str, restarts: int = 0, reason: str = "") -> dict[str, Any]:
    return {"1": {"state": state, "restarts": restarts, "reason": reason}}


def test_a_server_that_dies_and_comes_back_is_two_lines() -> None:
    changes = Changes()
    assert changes.told(_turn(servers=_server("starting"))) == []
    assert changes.told(_turn(servers=_server("ready"))) == []
    died = ["the server of version 1 is starting again: killed by SIGKILL"]
    for lines, restarts in ((died, 0), ([], 1)):
        assert changes.told(_turn(servers=_server("starting", restarts, DIED))) == lines
    assert changes.told(_turn(servers=_server("ready", 1))) == [
        "the server of version 1 is ready again, 1 restart so far"
    ]
    assert changes.told(_turn(servers=_server("ready", 1))) == []
    (failed,) = changes.told(_turn(servers=_server("failed", 3, DIED)))
    assert failed == f"the server of version 1 failed: {' '.join(DIED.split())}"
    assert changes.told(_turn(servers=_server("failed", 4, DIED))) == []


def test_router_and_collector_that_are_started_again_are_said_once() -> None:
    changes = Changes()
    assert changes.told(_turn(router={"restarts": 0}, collector={"restarts": 0, "reason": ""})) == []
    died = _turn(router={"restarts": 2}, collector={"restarts": 0, "reason": DIED})
    assert changes.told(died) == [
        "the router was started again, 2 restarts so far",
        "the collector of labels is starting again: killed by SIGKILL",
    ]
    assert changes.told(died) == []
    (back,) = changes.told(_turn(router={"restarts": 2}, collector={"restarts": 1, "reason": ""}))
    assert back == "the collector of labels is ready again, 1 restart so far"


def test_that_nothing_serves_is_said_with_the_next_step() -> None:
    changes = Changes()
    for hold in ("No training yet: one failed.", "No training yet: two failed."):
        waits = _turn(LoopState(), hold=hold)
        assert changes.told(waits) == [f"no version serves: {hold} Next step: trimtab retrain"]
        assert changes.told(waits) == []
    assert changes.told(_turn(hold="Held.", servers=_server("ready"))) == []
    assert changes.told(_turn(LoopState(champion="1", unserved="1"), hold="Held.")) != []
