"""Decisions told to the cluster: an Event each, once, however often it is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from trimtab.adapters.cluster import EVENTS, MANAGER, Cluster, Conflict
from trimtab.operator.accepting import LoopObject
from trimtab.ports.turns import Turn

_WARNINGS = ("reject", "roll-back", "training-failed", "monitoring-failed", "alarm", "refuse", "undelivered")
_LONGEST_MESSAGE = 1024  # as the API server bounds it


def tell_turn(cluster: Cluster, about: LoopObject, turn: Turn) -> None:
    """An Event for each of the turn's decisions. Their names follow from the turn, so that telling again adds none."""
    for index, decision in enumerate(turn.decisions):
        kind = str(decision["kind"])
        reason = "".join(part.capitalize() for part in kind.split("-"))
        name = f"{about.name}.{about.uid[:8]}.turn-{turn.number}-{index}"
        tell(cluster, about, name, reason, str(decision["sentence"]), kind in _WARNINGS, turn.time)


def tell(
    cluster: Cluster, about: LoopObject, name: str, reason: str, message: str, warning: bool, time: datetime
) -> None:
    """One Event about the loop, unless there is one of this name."""
    stamp = time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"
    body: Mapping[str, Any] = {
        "metadata": {"name": name, "namespace": about.namespace, "labels": {"trimtab.dev/loop": about.name}},
        "involvedObject": {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelLoop",
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
        },
        "reason": reason,
        "message": text,
        "type": "Warning" if warning else "Normal",
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": MANAGER,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
    try:
        cluster.create(EVENTS, about.namespace, dict(body))
    except Conflict:
        return  # told before
