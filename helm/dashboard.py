"""`python helm/dashboard.py`: the Grafana dashboard of the chart trimtab, one row for each question that people ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FILE = Path(__file__).parent / "trimtab/files/dashboard.json"
_MODEL = 'model=~"$model"'
_LOOP = 'namespace=~"$namespace",name=~"$loop"'
_DATASOURCE = {"type": "prometheus", "uid": "$datasource"}


def _panel(title: str, said: str, unit: str, *asked: tuple[str, str], kind: str = "timeseries", width: int = 8) -> Json:
    targets = [
        {"refId": chr(65 + index), "expr": expr, "legendFormat": legend, "datasource": _DATASOURCE}
        for index, (expr, legend) in enumerate(asked)
    ]
    return {
        "type": kind,
        "title": title,
        "description": said,
        "datasource": _DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "gridPos": {"w": width, "h": 8, "x": 0, "y": 0},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if kind == "timeseries" else {},
    }


_ERRORS = f'sum by (model, version) (rate(trimtab_unanswered_total{{{_MODEL},status=~"5.."}}[$__rate_interval]))'
_ANSWERS = f'sum by (model, version) (rate(trimtab_requests_total{{{_MODEL},shadow="false"}}[$__rate_interval]))'
_BUCKETS = f"sum by (model, version, le) (rate(trimtab_latency_seconds_bucket{{{_MODEL}}}[$__rate_interval]))"
_VERSION = "{{model}} {{version}}"
_NAMED = "{{namespace}}/{{name}}"

ROWS: tuple[tuple[str, tuple[Json, ...]], ...] = (
    (
        "How do the loops stand?",
        (
            _panel(
                "Phase",
                "The phase of each loop; the sentence is in kubectl describe loop.",
                "short",
                (f"max by (namespace, name, phase) (trimtab_loop_phase{{{_LOOP}}} == 1)", _NAMED + ": {{phase}}"),
                kind="stat",
            ),
            _panel(
                "Traffic of the challenger",
                "Percent of requests that the version under release is given.",
                "percent",
                (f"max by (namespace, name) (trimtab_challenger_percent{{{_LOOP}}})", _NAMED),
            ),
            _panel(
                "Alarms",
                "Bounds of monitoring that are broken now.",
                "short",
                (f"max by (namespace, name) (trimtab_alarms{{{_LOOP}}})", _NAMED),
            ),
            _panel(
                "Decisions",
                "What was decided in each hour, by kind.",
                "short",
                (f"sum by (kind) (increase(trimtab_decisions_total{{{_LOOP}}}[1h]))", "{{kind}}"),
                width=24,
            ),
        ),
    ),
    (
        "How well is it served, by version?",
        (
            _panel("Requests a second", "Answered, without shadow copies.", "reqps", (_ANSWERS, _VERSION)),
            _panel(
                "Without a prediction",
                "Share of requests that got a 5xx: what a release rolls back for.",
                "percentunit",
                (f"{_ERRORS} / ({_ANSWERS} + {_ERRORS})", _VERSION),
            ),
            _panel(
                "Time to answer",
                "50th and 99th percentile of each version: compare the challenger with the champion.",
                "s",
                (f"histogram_quantile(0.5, {_BUCKETS})", _VERSION + " p50"),
                (f"histogram_quantile(0.99, {_BUCKETS})", _VERSION + " p99"),
            ),
            _panel(
                "Refused requests",
                "4xx by status: 422 are rows that break the data contract, often the first sign of a change upstream.",
                "reqps",
                (
                    "sum by (model, status) "
                    f'(rate(trimtab_unanswered_total{{{_MODEL},status=~"4.."}}[$__rate_interval]))',
                    "{{model}} {{status}}",
                ),
            ),
            _panel(
                "Shadow copies",
                "Requests that a version answered only to be compared.",
                "reqps",
                (
                    "sum by (model, version) "
                    f'(rate(trimtab_requests_total{{{_MODEL},shadow="true"}}[$__rate_interval]))',
                    _VERSION,
                ),
            ),
            _panel(
                "Rows that wait",
                "Rows not yet being computed: growing means more replicas are wanted.",
                "short",
                (f"sum by (model, version) (trimtab_waiting_rows{{{_MODEL}}})", _VERSION),
            ),
            _panel(
                "Rows computed together",
                "Mean size of a batch.",
                "short",
                (
                    f"sum by (model, version) (rate(trimtab_batch_rows_sum{{{_MODEL}}}[$__rate_interval])) / "
                    f"sum by (model, version) (rate(trimtab_batch_rows_count{{{_MODEL}}}[$__rate_interval]))",
                    _VERSION,
                ),
            ),
            _panel(
                "Versions served",
                "Pods of each version that are scraped.",
                "short",
                (f"sum by (model, version) (trimtab_model_info{{{_MODEL}}})", _VERSION),
            ),
            _panel(
                "Router: what the versions answered",
                "Envoy's own count by cluster and class of status: it also sees answers that never came.",
                "reqps",
                (
                    "sum by (envoy_cluster_name, envoy_response_code_class) "
                    "(rate(envoy_cluster_upstream_rq_xx[$__rate_interval]))",
                    "{{envoy_cluster_name}} {{envoy_response_code_class}}xx",
                ),
            ),
        ),
    ),
    (
        "Is the evidence complete?",
        (
            _panel(
                "Labels",
                "Labels accepted in each hour; without them quality cannot be judged.",
                "short",
                ("sum(increase(trimtab_labels_total[1h]))", "labels"),
            ),
            _panel(
                "Answers without a record",
                "Rows served whose record could not be stored, in each hour.",
                "short",
                (f"sum by (model, version) (increase(trimtab_unlogged_total{{{_MODEL}}}[1h]))", _VERSION),
            ),
            _panel(
                "Collector",
                "1 while a log cannot be written; segments turned into Parquet in each hour.",
                "short",
                ("max(trimtab_log_trouble)", "trouble"),
                ("sum(increase(trimtab_segments_compacted_total[1h]))", "segments"),
            ),
        ),
    ),
    (
        "Does the operator keep up?",
        (
            _panel("Leaders", "Must be 1.", "short", ("sum(trimtab_operator_leader)", "leaders"), kind="stat"),
            _panel(
                "Turns",
                "Turns a second, and those that failed and were repeated.",
                "ops",
                ("sum(rate(trimtab_turns_total[$__rate_interval]))", "turns"),
                ("sum(rate(trimtab_turn_failures_total[$__rate_interval]))", "failed"),
            ),
            _panel(
                "Time of a turn",
                "99th percentile.",
                "s",
                ("histogram_quantile(0.99, sum by (le) (rate(trimtab_turn_seconds_bucket[$__rate_interval])))", "p99"),
            ),
            _panel(
                "Seconds since the last turn",
                "A loop that is not looked at takes no decisions.",
                "s",
                (f"time() - max by (namespace, name) (trimtab_last_turn_timestamp_seconds{{{_LOOP}}})", _NAMED),
                width=24,
            ),
        ),
    ),
)


def _variable(name: str, label: str, query: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def dashboard() -> Json:
    """The dashboard, its panels laid out from left to right."""
    panels: list[Json] = []
    top = 0
    for title, row in ROWS:
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": _at(24, 1, 0, top), "panels": []})
        top, left = top + 1, 0
        for panel in row:
            width = panel["gridPos"]["w"]
            if left + width > 24:
                top, left = top + 8, 0
            panels.append({**panel, "gridPos": _at(width, 8, left, top)})
            left += width
        top += 8
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}
    variables = [
        source,
        _variable("namespace", "Namespace", "label_values(trimtab_loop_phase, namespace)"),
        _variable("loop", "Loop", 'label_values(trimtab_loop_phase{namespace=~"$namespace"}, name)'),
        _variable("model", "Model", "label_values(trimtab_model_info, model)"),
    ]
    return {
        "uid": "trimtab-loops",
        "title": "trimtab: models on course",
        "tags": ["trimtab"],
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": variables},
        "panels": [{**panel, "id": index} for index, panel in enumerate(panels, 1)],
    }


def _at(width: int, height: int, left: int, top: int) -> Json:
    return {"w": width, "h": height, "x": left, "y": top}


if __name__ == "__main__":
    FILE.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
