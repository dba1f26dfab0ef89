"""Turns and wishes in one ConfigMap a loop: the ledger of a cluster that has no database.

Why not the status of the ModelLoop: a status is derived, and is lost by `kubectl replace`, a restore from a backup or a
delete and apply; a loop must outlive these. The ConfigMap's resourceVersion makes each commit happen once, whoever
races. What is kept stays below MOST_BYTES (the API server takes about 1 MB): the newest turn, the newest decisions and
the open wishes; older decisions are in the cluster's events and the operator's log.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters.cluster import CONFIG_MAPS, Cluster, Conflict, Json
from trimtab.errors import StorageFull, TrimtabError, TurnTaken
from trimtab.ports.turns import Turn, Wish

MOST_BYTES = 900_000
MOST_DECISIONS = 300
_TRIES = 8


class ConfigMapTurns:
    """TurnStore and WishStore of one loop. `namespace` and `loop` name the ConfigMap `LOOP-turns`."""

    def __init__(self, cluster: Cluster, namespace: str, loop: str) -> None:
        self._cluster, self._namespace, self._loop = cluster, namespace, loop
        self.name = f"{loop}-turns"

    def latest(self) -> Turn | None:
        """The newest turn."""
        found = self._read()
        return None if found is None or "turn" not in found["data"] else _turn(json.loads(found["data"]["turn"]))

    def commit(self, turn: Turn, answered_wishes: Sequence[int] = ()) -> None:
        """Store the turn and drop the wishes it answered, in one write; raises TurnTaken or StorageFull."""
        mark = uuid.uuid4().hex  # tells this commit from another controller's, if its answer was lost

        def change(data: dict[str, str]) -> dict[str, str] | None:
            if data.get("mark") == mark:
                return None
            last = json.loads(data["turn"])["number"] if "turn" in data else 0
            if turn.number != last + 1:
                raise TurnTaken(f"turn {turn.number} of {self._loop} was committed by another controller")
            wishes = [one for one in _wishes(data) if one["number"] not in answered_wishes]
            decisions = [dict(one) for one in reversed(turn.decisions)] + _decisions(data)
            told = {"mark": mark, "turn": json.dumps(_told(turn)), "wishes": json.dumps(wishes)}
            return _fitting({**data, **told}, decisions[:MOST_DECISIONS], self._loop)

        self._write(change)

    def newest_decisions(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last decisions, newest first, as far as they are still kept."""
        found = self._read()
        return [] if found is None else _decisions(found["data"])[:limit]

    def wish(self, time: datetime, kind: str, arguments: Mapping[str, Any]) -> int:
        """Remember what a person asked for; returns its number."""
        mark, number = uuid.uuid4().hex, 0

        def change(data: dict[str, str]) -> dict[str, str] | None:
            nonlocal number
            open_now = _wishes(data)
            if any(one.get("mark") == mark for one in open_now):
                return None
            number = int(data.get("asked", "0")) + 1
            wish = {"number": number, "time": _text(time), "kind": kind, "arguments": dict(arguments), "mark": mark}
            wishes = json.dumps([*open_now, wish])
            return _fitting({**data, "asked": str(number), "wishes": wishes}, _decisions(data), self._loop)

        self._write(change)
        return number

    def open_wishes(self) -> Sequence[Wish]:
        """Wishes that no turn has answered, oldest first."""
        found = self._read()
        return [
            Wish(one["number"], datetime.fromisoformat(one["time"]), one["kind"], one["arguments"])
            for one in (_wishes(found["data"]) if found is not None else [])
        ]

    def forget(self) -> None:
        """Delete all of it."""
        self._cluster.delete(CONFIG_MAPS, self._namespace, self.name)

    def _read(self) -> Json | None:
        found = self._cluster.get(CONFIG_MAPS, self._namespace, self.name)
        return None if found is None else {**found, "data": found.get("data") or {}}

    def _write(self, change: Any) -> None:
        """Change the data as it stands now, again if somebody was faster; `change` returns None if it was made."""
        for _ in range(_TRIES):
            found = self._read()
            data = change({} if found is None else found["data"])
            if data is None:
                return
            try:
                if found is None:
                    self._cluster.create(CONFIG_MAPS, self._namespace, {"metadata": self._meta(), "data": data})
                else:
                    self._cluster.replace(CONFIG_MAPS, self._namespace, {**found, "data": data})
            except Conflict:
                continue  # looked at anew: it may even have been this very write, whose answer was lost
            return
        raise TrimtabError(f"ConfigMap {self._namespace}/{self.name} is changed all the time by others; who writes it?")

    def _meta(self) -> Json:
        labels = {"app.kubernetes.io/managed-by": "trimtab", "trimtab.dev/loop": self._loop}
        return {"name": self.name, "labels": labels}


def _fitting(data: dict[str, str], decisions: list[Any], loop: str) -> dict[str, str]:
    """The data with as many of the newest decisions as there is room for."""
    room = MOST_BYTES - sum(len(key) + len(value.encode()) for key, value in data.items() if key != "decisions")
    if room < 0:
        raise StorageFull(
            f"the state of {loop} is larger than a ConfigMap holds ({MOST_BYTES} bytes): give the operator a database"
        )
    kept: list[str] = []
    for decision in decisions:
        text = json.dumps(decision)
        room -= len(text.encode()) + 2
        if room < 2:
            break
        kept.append(text)
    return {**data, "decisions": f"[{', '.join(kept)}]"}


def _decisions(data: Mapping[str, str]) -> list[Any]:
    return list(json.loads(data.get("decisions", "[]")))


def _wishes(data: Mapping[str, str]) -> list[Any]:
    return list(json.loads(data.get("wishes", "[]")))


def _told(turn: Turn) -> Json:
    return {
        "number": turn.number,
        "time": _text(turn.time),
        "state": dict(turn.state),
        "observed": dict(turn.observed),
        "decisions": [dict(one) for one in turn.decisions],
    }


def _turn(data: Json) -> Turn:
    time = datetime.fromisoformat(data["time"])
    return Turn(data["number"], time, data["state"], data["observed"], data["decisions"])


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()
