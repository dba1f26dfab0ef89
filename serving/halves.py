"""What a request and its answer say, read out of their payloads (V1 and V2 of the open inference protocol)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from trimtab.serving import asked, tensors
from trimtab.serving.cloudevents import Event
from trimtab.serving.refusals import Malformed, TooMuch

MOST_ROWS = 10_000
_AHEAD = timedelta(minutes=5)
_VERSION = "trimtab.dev/version"
_NAMED = re.compile(r"-v([0-9]+)$")
_HEADERS = (asked.REQUEST_ID, asked.SHADOW, asked.ATTEMPT)
Half = Mapping[str, Any]


def read(event: Event, now: datetime) -> dict[str, Any]:
    """One half as JSON-ready values; raises Malformed or TooMuch for what is no payload of either protocol."""
    found = tensors.parse(event.data)
    half: dict[str, Any] = {
        "key": f"{event.namespace}/{event.service}/{event.component}/{event.id}",
        "kind": event.kind,
        "at": now.isoformat(),
        "time": _plausible(event.time, now).isoformat(),
        "version": _version(event),
        "headers": {name: event.headers[name] for name in _HEADERS if name in event.headers},
    }
    half |= _request(event, found) if event.kind == "request" else _response(found)
    if len(half["rows"]) > MOST_ROWS:
        raise TooMuch(f"{len(half['rows'])} rows in one payload; at most {MOST_ROWS} are taken")
    return half


def records(request: Half, response: Half) -> list[dict[str, Any]]:
    """The prediction records of a call, as our own servers write them; raises Malformed if the halves do not fit."""
    rows, answers = request["rows"], response["rows"]
    if len(rows) != len(answers):
        raise Malformed(f"{len(rows)} rows were asked about and {len(answers)} answered")
    told = {**request["headers"], **response["headers"]}
    ids = response["ids"]
    if ids is None or len(ids) != len(rows):
        name = response["id"] or told.get(asked.REQUEST_ID) or request["key"].rpartition("/")[2]
        ids = [name] if len(rows) == 1 else [f"{name}-{number}" for number in range(len(rows))]
    attempt = told.get(asked.ATTEMPT, "1")
    seconds = datetime.fromisoformat(response["time"]) - datetime.fromisoformat(request["time"])
    shared = {
        "time": request["time"],
        "version": response["version"] or request["version"],
        "shadow": told.get(asked.SHADOW) == "true",
        "attempt": int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) < 4 else 1,
        "protocol": request["protocol"],
        # of when the logger sent the two: what a caller waited, as near as can be known
        "latency_ms": max(0.0, seconds / timedelta(milliseconds=1)),
    }
    return [
        {"id": id_, **shared, "features": row, "prediction": prediction, "scores": scores}
        for id_, row, (prediction, scores) in zip(ids, rows, answers, strict=True)
    ]


def _request(event: Event, found: dict[str, Any]) -> dict[str, Any]:
    if "inputs" in found:
        rows: Sequence[Any] = tensors.rows(tensors.request(event.data, None, event.service))
        protocol = "v2"
    else:
        rows, protocol = found.get("instances"), "v1"  # type: ignore[assignment]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise Malformed('a request must hold {"instances": [{"column": value, ...}, ...]} or V2 inputs, one a column')
    return {"protocol": protocol, "rows": [orjson.dumps(row).decode() for row in rows]}


def _response(found: dict[str, Any]) -> dict[str, Any]:
    if "outputs" in found:
        return _tensors(found)
    predictions, ids = found.get("predictions"), found.get("ids")
    if not isinstance(predictions, list) or not predictions:
        raise Malformed('an answer must hold {"predictions": [...]} or V2 outputs')
    answer: dict[str, Any] = {"rows": [[_text(one), None] for one in predictions], "ids": _ids(ids), "id": ""}
    return answer | ({"version": _short(found["version"])} if "version" in found else {})


def _tensors(found: dict[str, Any]) -> dict[str, Any]:
    outputs = found["outputs"]
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs) or not outputs:
        raise Malformed("outputs: expected a list of tensors")
    named = {str(one.get("name")): one for one in outputs}
    first: dict[str, Any] = outputs[0]
    labels = _flat(named.get(tensors.OUTPUTS[0], first))
    scores: Sequence[list[float] | None] = [None] * len(labels)
    told = _flat(named[tensors.OUTPUTS[1]]) if tensors.OUTPUTS[1] in named else []
    if told and labels and len(told) % len(labels) == 0 and all(map(_is_number, told)):
        k = len(told) // len(labels)
        scores = [[float(score) for score in told[row * k : row * k + k]] for row in range(len(labels))]
    answer: dict[str, Any] = {
        "rows": [[_text(label), score] for label, score in zip(labels, scores, strict=True)],
        "ids": None,
        "id": _short(found.get("id") or ""),
    }
    return answer | ({"version": _short(found["model_version"])} if found.get("model_version") else {})


def _flat(tensor: Mapping[str, Any]) -> list[Any]:
    data = tensor.get("data")
    if not isinstance(data, list) or not data:
        raise Malformed("an output's data must be a list in the JSON (binary tensors cannot be told apart in an event)")
    return [one for row in data for one in row] if all(isinstance(row, list) for row in data) else data


def _text(value: Any) -> str:
    """A prediction as our servers log it."""
    if isinstance(value, str):
        return value
    if not _is_number(value) and not isinstance(value, bool):
        raise Malformed(f"a prediction must be a label or a number, found {type(value).__name__}")
    return repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _ids(ids: Any) -> list[str] | None:
    fits = isinstance(ids, list) and all(isinstance(one, str) and 0 < len(one) <= 300 for one in ids)
    return ids if fits else None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= asked.LONGEST_ID and text.isprintable() else ""


def _version(event: Event) -> str:
    """What a half knows of the version besides the answer: an annotation, or the name LOOP-vVERSION."""
    named = _NAMED.search(event.service)
    return event.annotations.get(_VERSION, "") or (named[1] if named else event.service)


def _plausible(time: datetime | None, now: datetime) -> datetime:
    """The event's time, or now if it has none or one that cannot be."""
    if time is None or time.year not in range(1678, 2262) or time > now + _AHEAD:
        return now.astimezone(UTC)
    return time
