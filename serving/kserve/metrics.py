"""Prometheus metrics of one version's server."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServerMetrics:
    """Counters with `model` and `version` labels, in the default registry that /metrics shows."""

    def __init__(self, model: str, version: str) -> None:
        labels, values = ("model", "version"), (model, version)
        self.requests = Counter("trimtab_requests_total", "Requests answered", (*labels, "protocol", "shadow"))
        self.rows = Counter("trimtab_rows_total", "Rows answered", labels).labels(*values)
        self.refused = Counter("trimtab_refused_total", "Requests refused because of what they asked", labels).labels(
            *values
        )
        self.failed = Counter("trimtab_failed_total", "Requests that failed in the model", labels).labels(*values)
        self.unlogged = Counter("trimtab_unlogged_total", "Rows whose record could not be stored", labels).labels(
            *values
        )
        self.latency = Histogram("trimtab_latency_seconds", "Time to answer", labels, buckets=_LATENCY).labels(*values)
        self.batch = Histogram("trimtab_batch_rows", "Rows computed together", labels, buckets=_ROWS).labels(*values)
        Gauge("trimtab_model_info", "1 for the version served", (*labels, "digest"))
        self._values = values

    def answered(self, protocol: str, shadow: bool, rows: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests.labels(*self._values, protocol, "true" if shadow else "false").inc()
        self.rows.inc(rows)
        self.latency.observe(seconds)
