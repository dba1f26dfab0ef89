"""`python helm/dashboard.py`: the Grafana dashboard of the chart trimtab, out of panels.yaml."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
PANELS = Path(__file__).parent / "panels.yaml"
FILE = Path(__file__).parent / "trimtab/files/dashboard.json"
_PLACE = 'namespace=~"$namespace"'
_CHOSEN = {"PLACE": _PLACE, "MODEL": f'{_PLACE},model=~"$model"', "LOOP": f'{_PLACE},name=~"$loop"'}
_LEGENDS = {
    "VERSION": "{{namespace}}/{{model}} {{version}}",
    "NAMED": "{{namespace}}/{{name}}",
    "POD": "{{namespace}}/{{pod}}",
}
_WORD = re.compile(r"\b[A-Z]+\b")
_DATASOURCE = {"type": "prometheus", "uid": "$datasource"}


def _panel(
    title: str,
    said: str,
    asked: list[dict[str, str]],
    unit: str = "short",
    kind: str = "timeseries",
    width: int = 8,
    least: float | None = 0,
) -> Json:
    targets = [
        {
            "refId": chr(65 + index),
            "expr": _filled(one["expr"], _CHOSEN),
            "legendFormat": _filled(one["legend"], _LEGENDS),
            "datasource": _DATASOURCE,
        }
        for index, one in enumerate(asked)
    ]
    return {
        "type": kind,
        "title": title,
        "description": said,
        "datasource": _DATASOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, **({} if least is None else {"min": least})}, "overrides": []},
        "gridPos": {"w": width, "h": 8, "x": 0, "y": 0},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if kind == "timeseries" else {},
    }


def rows() -> list[tuple[str, list[Json]]]:
    """The rows of panels.yaml: (question, panels)."""
    read = yaml.safe_load(PANELS.read_text(encoding="utf-8"))
    return [(one["row"], [_panel(**panel) for panel in one["panels"]]) for one in read]


def _filled(text: str, words: dict[str, str]) -> str:
    return _WORD.sub(lambda found: words.get(found[0], found[0]), text)


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
    for title, row in rows():
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
        _variable(
            "namespace",
            "Namespace",
            'label_values({__name__=~"trimtab_loop_phase|trimtab_model_info"}, namespace)',
        ),
        _variable("loop", "Loop", 'label_values(trimtab_loop_phase{namespace=~"$namespace"}, name)'),
        _variable("model", "Model", 'label_values(trimtab_model_info{namespace=~"$namespace"}, model)'),
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
