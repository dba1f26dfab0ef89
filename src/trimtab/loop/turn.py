"""One turn of the loop: observe, decide, commit, act.

The committed state is the truth. A turn that dies before its commit leaves nothing behind; one that dies after it is
made good by the next, because acting on a state may be repeated without harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from trimtab.decisions.state import LoopState
from trimtab.decisions.turn import decide
from trimtab.errors import Refused, TrimtabError, TurnTaken
from trimtab.loop.act import Hands
from trimtab.loop.handover import Handover
from trimtab.loop.observe import Observer
from trimtab.loop.world import World
from trimtab.ports.registry import RegisteredVersion
from trimtab.ports.servers import ServerView
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop

_POLL_SECONDS = 0.05
_PAUSE_SECONDS = 0.5
_TRIES = 60

T = TypeVar("T")


class Loop:
    """A model product's loop over its world."""

    def __init__(self, document: ModelLoop, world: World, evidence_every: timedelta = timedelta(0)) -> None:
        if document.spec.release.delivery == "gitops" and world.delivery is None:
            raise Refused(
                "release.delivery is gitops, and nothing here hands releases over to a repository: the operator on a "
                "cluster does. Use delivery: direct to let the loop change what serves"
            )
        self.document = document
        self.world = world
        self._served: Mapping[str, Any] | None = None  # the state that servers and routes were last made to follow
        self._hands = Hands(document, world)
        self._handover = Handover(document, world.delivery, self._hands.registered) if world.delivery else None
        self._observer = Observer(
            document.spec, world.predictions, world.labels, world.runner, world.router, evidence_every
        )

    def registered(self, version: str) -> RegisteredVersion:
        """What the registry says of a version."""
        return self._hands.registered(version)

    def state(self) -> LoopState:
        """The committed state."""
        last = self.world.turns.latest()
        return LoopState() if last is None else LoopState.from_json(last.state)

    def views(self) -> Mapping[str, ServerView]:
        """How the servers stand that the committed state wants."""
        return self._hands.serve(self.state())

    def turn(self, now: datetime) -> Turn:
        """One turn at `now`; returns it as committed. Raises TurnTaken if another controller was faster."""
        turn = self._committed(now)
        if self._served != turn.state or turn.decisions:
            self._act(turn)
        else:
            self._hands.pursue(LoopState.from_json(turn.state))  # servers and routes were seen to a moment ago
        return turn

    def _committed(self, now: datetime) -> Turn:
        """Observe, decide, commit."""
        last = self.world.turns.latest()
        state = LoopState() if last is None else LoopState.from_json(last.state)
        handed = self._handover.bring(state, last) if self._handover else None
        views = self._hands.serve(state)
        self._served = state.to_json()
        wishes = self.world.turns.open_wishes()
        champion = self._hands.registered(state.champion) if state.champion else None
        observed, counts = self._observer.observe(state, now, last, views, wishes, champion)
        observed = replace(observed, delivery=handed)
        outcome = decide(self.document.spec, state, observed)
        number = 1 if last is None else last.number + 1
        router = {"restarts": getattr(self.world.router, "restarts", 0)}  # of a router that is a process here
        service = self.world.collector
        collector = {"restarts": getattr(service, "restarts", 0), "reason": getattr(service, "reason", "")}
        seen = {**observed.to_json(), "counts": dict(counts), "hold": outcome.hold}
        seen |= {"router": router, "collector": collector}
        turn = Turn(number, now, outcome.state.to_json(), seen, [decision.to_json() for decision in outcome.decisions])
        self.world.turns.commit(turn, outcome.answered)
        return turn

    def _act(self, turn: Turn) -> None:
        """Make the world what the turn's state says; may be repeated."""
        state = LoopState.from_json(turn.state)
        if self._handover and turn.decisions:
            self._handover.bring(state, turn)  # whatever is wrong with it is seen by the next turn
        self._hands.serve(state)
        self._hands.pursue(state)

    def settle(
        self, now: datetime, seen: Callable[[Turn], None], limit_seconds: float = 600.0, training: bool = True
    ) -> Turn:
        """Turns at the same `now` until no run is under way and every server wanted is ready or has failed.

        For virtual time, where work takes no time. `training=False` does not wait for the training run. What fails
        for a moment, because a process died, is tried again. Raises TrimtabError after `limit_seconds` of real time.
        """
        until = time.monotonic() + limit_seconds
        while True:
            turn = _again(lambda: self._committed(now))
            seen(turn)
            _again(lambda: self._act(turn))  # noqa: B023 - done before the next turn
            state = LoopState.from_json(turn.state)
            if not turn.decisions and not _again(lambda: self._busy(state, training)):  # noqa: B023
                return turn
            while _again(lambda: self._waiting(state, training)):  # noqa: B023
                if time.monotonic() > until:
                    raise TrimtabError(
                        f"nothing moved for {limit_seconds:.0f} s at turn {turn.number}; look at: trimtab status"
                    )
                time.sleep(_POLL_SECONDS)

    def _busy(self, state: LoopState, training: bool) -> bool:
        return (
            (training and state.training is not None) or state.monitoring is not None or self._waiting(state, training)
        )

    def _waiting(self, state: LoopState, training: bool) -> bool:
        """Whether a run or a server start that the state wants is still under way."""
        keys = [state.training.run_key] if state.training and training else []
        keys += [state.monitoring.key] if state.monitoring else []
        views = [self.world.runner.look(key) for key in keys]
        running = any(view is not None and view.state == "RUNNING" for view in views)
        return running or any(view.state == "starting" for view in self._hands.serve(state).values())


def _again(work: Callable[[], T]) -> T:
    """Do it, and again if it fails, for half a minute; raises the last error. A turn taken by another is no failure."""
    for _ in range(_TRIES - 1):
        try:
            return work()
        except TurnTaken:
            raise
        except TrimtabError:
            time.sleep(_PAUSE_SECONDS)
    return work()
