"""What Prometheus is told of the operator and its loops."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_LOOP = ("namespace", "name")
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

    def tell(self, namespace: str, name: str, phase: str, percent: int, alarms: int) -> None:
        """How a loop stands."""
        for one in _PHASES:
            self.phase.labels(namespace, name, one).set(one == phase)
        self.traffic.labels(namespace, name).set(percent)
        self.alarms.labels(namespace, name).set(alarms)

    def forget(self, namespace: str, name: str) -> None:
        """A loop that is gone has no numbers."""
        for metric in (self.turns, self.failures, self.traffic, self.last_turn, self.alarms):
            if (namespace, name) in metric._metrics:
                metric.remove(namespace, name)
        for metric in (self.phase, self.decisions):
            for labels in [one for one in metric._metrics if one[:2] == (namespace, name)]:
                metric.remove(*labels)
