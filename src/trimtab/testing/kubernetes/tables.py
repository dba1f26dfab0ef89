"""Lists as kubectl shows them: a Table with the columns that the definition names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from trimtab.testing.kubernetes.kinds import Kind

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[\?\(@\.(\w+)==[\"'](\w+)[\"']\)\]|\[(\d+)\]")


def table(kind: Kind, found: Sequence[dict[str, Any]], revision: str) -> dict[str, Any]:
    """The objects as rows."""
    columns = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]
    columns += [{"format": "", "description": "", "priority": 0, **_without_path(column)} for column in kind.columns]
    if not kind.columns:
        columns.append({"name": "Age", "type": "string", "format": "", "description": "", "priority": 0})
    rows = []
    for one in found:
        paths = [column["jsonPath"] for column in kind.columns] or [".metadata.creationTimestamp"]
        types = [column["type"] for column in kind.columns] or ["date"]
        cells = [_cell(one, path, type_) for path, type_ in zip(paths, types, strict=True)]
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": one["metadata"]}
        rows.append({"cells": [one["metadata"]["name"], *cells], "object": partial})
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision}}
    return {**head, "columnDefinitions": columns, "rows": rows}


def _without_path(column: Any) -> dict[str, Any]:
    return {key: value for key, value in column.items() if key != "jsonPath"}


def _cell(value: Any, path: str, type_: str) -> Any:
    for key, test, wanted, index in _STEP.findall(path):
        if key:
            value = value.get(key) if isinstance(value, dict) else None
        elif test:
            value = next((one for one in value or () if one.get(test) == wanted), None)
        else:
            value = value[int(index)] if isinstance(value, list) and len(value) > int(index) else None
    if type_ == "date" and value:
        return _ago(datetime.fromisoformat(str(value)))
    return value


def _ago(time: datetime) -> str:
    seconds = int((datetime.now(UTC) - time).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"
