"""What Prometheus is told of the operator and its loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from trimtab.ports.turns import Turn

_LOOP = ("namespace", "name")
_QUALITY = (*_LOOP, "metric", "champion")
_PHASES = ("Pending", "Training", "Serving", "Releasing", "Degraded", "Failed", "Deleting")


class Metrics:
    """One set of metrics in a registry of its own."""

    def __init__(self) -> None:
        self.registry = made = CollectorRegistry()
        self.leader = Gauge("trimtab_operator_leader", "1 while this process acts on the loops.", registry=made)
        self.turns = Counter("trimtab_turns", "Turns that went through.", _LOOP, registry=made)
        self.failures = Counter("trimtab_turn_failures", "Turns that failed and were repeated.", _LOOP, registry=made)
        self.seconds = Histogram(
            "trimtab_turn_seconds",
            "How long a turn took.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
            registry=made,
        )
        self.decisions = Counter("trimtab_decisions", "Decisions by kind.", (*_LOOP, "kind"), registry=made)
        self.traffic = Gauge(
            "trimtab_challenger_percent", "Percent of traffic of the challenger.", _LOOP, registry=made
        )
        self.phase = Gauge(
            "trimtab_loop_phase", "1 for the phase that the loop is in.", (*_LOOP, "phase"), registry=made
        )
        self.last_turn = Gauge("trimtab_last_turn_timestamp_seconds", "When the newest turn was.", _LOOP, registry=made)
        self.alarms = Gauge("trimtab_alarms", "Alarms that are up.", _LOOP, registry=made)
        self.drift = Gauge(
            "trimtab_loop_drift_share", "Share of the features in use that drifted.", _LOOP, registry=made
        )
        self.quality = Gauge(
            "trimtab_loop_quality", "Quality of the champion on matured labels.", _QUALITY, registry=made
        )
        self.holdout = Gauge(
            "trimtab_loop_holdout_quality", "The same on its hold-out, when it was trained.", _QUALITY, registry=made
        )

    def tell(self, namespace: str, name: str, phase: str, percent: int, alarms: int) -> None:
        """How a loop stands."""
        for one in _PHASES:
            self.phase.labels(namespace, name, one).set(one == phase)
        self.traffic.labels(namespace, name).set(percent)
        self.alarms.labels(namespace, name).set(alarms)

    def show(self, namespace: str, name: str, turn: Turn) -> None:
        """What the turn knew of drift and quality; what it did not know has no number."""
        quality = turn.observed.get("quality") or {}
        champion = str(quality.get("version") or turn.state.get("champion") or "")
        share = _drift_share(turn.observed.get("monitoring") or {})
        _only(self.drift, (namespace, name), {} if share is None else {(): share})
        for gauge, kind in ((self.quality, "live"), (self.holdout, "holdout")):
            found = (quality.get(kind) or {}) if champion else {}
            _only(gauge, (namespace, name), {(metric, champion): one["value"] for metric, one in found.items()})

    def forget(self, namespace: str, name: str) -> None:
        """A loop that is gone has no numbers."""
        for metric in (self.turns, self.failures, self.traffic, self.last_turn, self.alarms):
            if (namespace, name) in metric._metrics:
                metric.remove(namespace, name)
        for metric in (self.phase, self.decisions, self.drift, self.quality, self.holdout):
            for labels in [one for one in metric._metrics if one[:2] == (namespace, name)]:
                metric.remove(*labels)


def _drift_share(monitoring: Mapping[str, Any]) -> float | None:
    """Of the features that the model uses; None with too little evidence, as `drift: unknown` in the status."""
    used = [one for one in monitoring.get("drift") or () if one["importance"] > 0]
    if monitoring.get("verdict") in (None, "", "insufficient evidence") or not used:
        return None
    return sum(bool(one["drifted"]) for one in used) / len(used)


def _only(gauge: Gauge, loop: tuple[str, str], values: Mapping[tuple[str, ...], float]) -> None:
    """These series of the loop and no others: those of a champion of before would stand for ever."""
    for rest, value in values.items():
        gauge.labels(*loop, *rest).set(value)
    for labels in [one for one in gauge._metrics if one[:2] == loop and one[2:] not in values]:
        gauge.remove(*labels)
