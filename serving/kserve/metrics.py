"""Prometheus metrics of one version's server."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_LABELS = ("model", "version")


class ServerMetrics:
    """Metrics with `model` and `version` labels, in the registry that /metrics shows unless another one is given."""

    def __init__(self, model: str, version: str, digest: str, registry: CollectorRegistry = REGISTRY) -> None:
        self._values = (model, version)
        self._requests = Counter(
            "trimtab_requests_total", "Requests answered", (*_LABELS, "protocol", "shadow"), registry=registry
        )
        self._unanswered = Counter(
            "trimtab_unanswered_total",
            "Requests without a prediction, by HTTP status: 4xx are the client's mistakes",
            (*_LABELS, "status"),
            registry=registry,
        )
        rows = Counter("trimtab_rows_total", "Rows answered", _LABELS, registry=registry)
        unlogged = Counter(
            "trimtab_unlogged_total", "Rows whose record could not be stored", _LABELS, registry=registry
        )
        latency = Histogram("trimtab_latency_seconds", "Time to answer", _LABELS, buckets=_LATENCY, registry=registry)
        batch = Histogram("trimtab_batch_rows", "Rows computed together", _LABELS, buckets=_ROWS, registry=registry)
        self._rows, self.unlogged = rows.labels(*self._values), unlogged.labels(*self._values)
        self._latency, self.batch = latency.labels(*self._values), batch.labels(*self._values)
        served = Gauge("trimtab_model_info", "1 for the version served", (*_LABELS, "digest"), registry=registry)
        served.labels(*self._values, digest).set(1)
        self._waiting = Gauge("trimtab_waiting_rows", "Rows not yet being computed", _LABELS, registry=registry)
        self._answered: dict[tuple[str, bool], Counter] = {}
        # There from the start: a share of failures needs both, though all that was ever asked may have failed.
        self._requests.labels(*self._values, "v1", "false")
        self._unanswered.labels(*self._values, "500")

    def answered(self, protocol: str, shadow: bool, rows: int, seconds: float) -> None:
        """Count one answered request."""
        counter = self._answered.get((protocol, shadow))
        if counter is None:
            counter = self._requests.labels(*self._values, protocol, "true" if shadow else "false")
            self._answered[protocol, shadow] = counter
        counter.inc()
        self._rows.inc(rows)
        self._latency.observe(seconds)

    def watch(self, waiting_rows: Callable[[], int]) -> None:
        """Ask this whenever /metrics is read."""
        self._waiting.labels(*self._values).set_function(waiting_rows)

    def unanswered(self, status: int) -> None:
        """Count one request that got no prediction."""
        self._unanswered.labels(*self._values, str(status)).inc()
