"""One ModelLoop of the cluster, kept on course: its object in, turns, status and events out. Knows nothing of kopf."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from trimtab.adapters.cluster import MODEL_LOOPS, Cluster, ClusterError
from trimtab.decisions.state import LoopState
from trimtab.errors import TrimtabError, TurnTaken
from trimtab.loop.turn import Loop
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject, accepted, object_of
from trimtab.operator.metrics import Metrics
from trimtab.operator.removing import delivered_by_git, remove_made, remove_world
from trimtab.operator.settings import ON_DELETE, Settings
from trimtab.operator.status import Seen, status_of
from trimtab.operator.telling import tell, tell_turn
from trimtab.operator.wishing import Wishing
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop

log = logging.getLogger(__name__)
Json = Mapping[str, Any]
WorldFactory = Callable[[ModelLoop, LoopObject], World]
EVIDENCE_EVERY = timedelta(seconds=15)
_LONGEST_RETRY_SECONDS = 60.0
_STARTING_SECONDS = 1.0
_FRESH = timedelta(minutes=5)  # a status that only says that nothing happened is written this often


class Keeper:
    """Takes steps for one object; a step never raises, so that no loop harms another. Not for several threads."""

    def __init__(self, cluster: Cluster, worlds: WorldFactory, settings: Settings, metrics: Metrics) -> None:
        self._cluster, self._worlds, self._settings, self._metrics = cluster, worlds, settings, metrics
        self._wishing = Wishing(cluster)
        self._loop: Loop | None = None
        self._about: LoopObject | None = None
        self._generation = 0
        self._problems: tuple[str, ...] = ()
        self._document: ModelLoop | None = None
        self._failures = 0
        self._failure = ""
        self._all_told = False  # whether every decision that this process knows of was told
        self._written: dict[str, Any] | None = None  # the status as it was last written

    @property
    def generation(self) -> int:
        """The generation of the document that was last read."""
        return self._generation

    def step(self, body: Json, now: datetime) -> float:
        """Read the object, take a turn, tell what came of it; returns the seconds until the next step."""
        began = time.monotonic()
        self._about = about = object_of(body)
        turn: Turn | None = None
        try:
            if not self._read(body):
                self._tell(body, now, None)
                return self._settings.idle_seconds
            turn = self._turn(body, now)
            self._failures, self._failure = 0, ""
            self._metrics.turns.labels(about.namespace, about.name).inc()
        except TurnTaken:
            return self._settings.retry_seconds  # another operator was faster; its decisions are as good
        except Exception as error:  # noqa: BLE001 - the next step repeats this one, and other loops go on
            self._failed(about, error)
            turn = self._last()
        self._metrics.seconds.observe(time.monotonic() - began)
        self._tell(body, now, turn)
        return self._pause(turn)

    def leave(self, body: Json) -> bool:
        """The object is being deleted: what serves is left alone, or removed if its annotation says so.

        Returns whether it is done; if not, call again.
        """
        self._about = about = object_of(body)
        wish = (body["metadata"].get("annotations") or {}).get(ON_DELETE, "keep")
        try:
            if wish == "remove" and not delivered_by_git(body):
                self._remove(body, about)
        except Exception as error:  # noqa: BLE001 - tried again; the finalizer holds the object until then
            self._failed(about, error)
            return False
        self._metrics.forget(about.namespace, about.name)
        self.close()
        return True

    def _remove(self, body: Json, about: LoopObject) -> None:
        try:
            world = self._loop.world if self._read(body) and self._loop is not None else None
        except TrimtabError as error:
            log.warning("%s/%s is removed by what its parts are called: %s", about.namespace, about.name, error)
            world = None
        if world is not None:
            remove_world(world)
        else:
            remove_made(self._cluster, about)

    def close(self) -> None:
        """Let go of the world; what runs in the cluster runs on."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.world.close()

    def _read(self, body: Json) -> bool:
        """Take up a document that is new; returns whether there is one to act on."""
        generation = int(body["metadata"].get("generation") or 1)
        if generation != self._generation:
            self._document, self._problems = accepted(body)
            self._generation = generation
            self.close()
            self._failures, self._failure = 0, ""
        if self._document is None:
            return False
        if self._loop is None:
            world = self._worlds(self._document, object_of(body))
            self._loop = Loop(self._document, world, EVIDENCE_EVERY)
        return True

    def _turn(self, body: Json, now: datetime) -> Turn:
        """The decisions of a turn whose operator died before telling them are told first."""
        if self._loop is None:
            raise TrimtabError("the loop has no world")
        before = None if self._all_told else self._loop.world.turns.latest()
        if before is not None:
            self._announce(before)
        self._all_told = False
        if self._about is not None:
            self._wishing.take(self._about, body, self._loop.world.turns, now)
        turn = self._loop.turn(now)
        self._announce(turn)
        self._all_told = True
        return turn

    def _announce(self, turn: Turn) -> None:
        if self._about is None:
            return
        tell_turn(self._cluster, self._about, turn)
        for decision in turn.decisions:
            log.info("%s/%s: %s: %s", self._about.namespace, self._about.name, decision["kind"], decision["sentence"])
            self._metrics.decisions.labels(self._about.namespace, self._about.name, decision["kind"]).inc()

    def _last(self) -> Turn | None:
        """The newest turn, as far as it can be known now."""
        try:
            return self._loop.world.turns.latest() if self._loop is not None else None
        except TrimtabError:
            return None

    def _failed(self, about: LoopObject, error: Exception) -> None:
        self._failures += 1
        said = str(error) if isinstance(error, TrimtabError) else f"{type(error).__name__}: {error}"
        if said != self._failure:
            log.warning("%s/%s: %s", about.namespace, about.name, said, exc_info=not isinstance(error, TrimtabError))
        self._failure = said
        self._metrics.failures.labels(about.namespace, about.name).inc()

    def _tell(self, body: Json, now: datetime, turn: Turn | None) -> None:
        """Write the status, if it says anything new."""
        if self._about is None:
            return
        before = self._written if self._written is not None else dict(body.get("status") or {})
        try:
            turn, last = self._newest(turn)
            remark = self._loop.world.remark() if self._loop is not None else ""
            seen = Seen(self._generation, now, self._document, self._problems, turn, last, self._failure, remark)
            status = status_of(seen, before.get("conditions") or ())
            self._count(status, turn)
            if (
                self._problems
                and (before.get("conditions") or [{}])[0].get("message") != status["conditions"][0]["message"]
            ):
                name = f"{self._about.name}.{self._about.uid[:8]}.refused-{self._generation}"
                tell(self._cluster, self._about, name, "DocumentRefused", status["message"], True, now)
            if _news(before, status):
                self._cluster.merge(
                    MODEL_LOOPS, self._about.namespace, self._about.name, {"status": status}, status=True
                )
                self._written = status
        except ClusterError as error:
            if error.code != 404:  # deleted meanwhile
                log.warning("%s/%s: its status was not written: %s", self._about.namespace, self._about.name, error)
        except Exception:
            log.exception("%s/%s: its status was not written", self._about.namespace, self._about.name)

    def _newest(self, turn: Turn | None) -> tuple[Turn | None, Json | None]:
        if self._loop is None:
            return turn, None
        if turn is not None and turn.decisions:
            return turn, turn.decisions[-1]
        decisions = self._loop.world.turns.newest_decisions(1)
        return turn, decisions[0] if decisions else None

    def _count(self, status: Json, turn: Turn | None) -> None:
        if self._about is None:
            return
        alarms = len(turn.state.get("alarms") or ()) if turn is not None else 0
        percent = int(status["trafficPercent"] or 0)
        self._metrics.tell(self._about.namespace, self._about.name, status["phase"], percent, alarms)
        if turn is not None:
            self._metrics.last_turn.labels(self._about.namespace, self._about.name).set(turn.time.timestamp())
            self._metrics.show(self._about.namespace, self._about.name, turn)

    def _pause(self, turn: Turn | None) -> float:
        if self._failure:
            return min(self._settings.retry_seconds * 2.0 ** min(self._failures - 1, 10), _LONGEST_RETRY_SECONDS)
        if turn is None:
            return self._settings.busy_seconds
        state = LoopState.from_json(turn.state)
        servers = turn.observed.get("servers") or {}
        if turn.decisions or any(server["state"] == "starting" for server in servers.values()):
            return min(_STARTING_SECONDS, self._settings.busy_seconds)
        busy = state.training is not None or state.release is not None or state.monitoring is not None
        return self._settings.busy_seconds if busy or state.champion is None else self._settings.idle_seconds


def _news(before: Json, status: Json) -> bool:
    """Whether the status says more than that another turn went by, or was last written a while ago."""

    def plain(value: Json) -> dict[str, Any]:
        return {key: one for key, one in value.items() if one is not None and key != "lastTurn"}

    def bare(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: bare(one) for key, one in value.items() if one is not None}
        return [bare(one) for one in value] if isinstance(value, list) else value

    if bare(plain(before)) != bare(plain(status)):
        return True
    old, new = before.get("lastTurn"), status.get("lastTurn")
    if not old or not new:
        return bool(new)
    return datetime.fromisoformat(new) - datetime.fromisoformat(old) > _FRESH
