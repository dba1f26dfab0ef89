"""Reading CloudEvents over HTTP as KServe's payload logger sends them: binary mode, and also structured and batched.

What the logger sends was read in its source (kserve/kserve, pkg/logger): one event a request and one an answer, of the
same id; the answer's only for 200 unless it is told otherwise, and then with the extension `statuscode`. It sends each
event once and looks at no answer but to write a line in its log.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote

import orjson

from trimtab.serving.refusals import Malformed

MOST_EVENTS = 1000
_TYPES: Mapping[str, Literal["request", "response"]] = {
    "org.kubeflow.serving.inference.request": "request",
    "org.kubeflow.serving.inference.response": "response",
}
_STRUCTURED, _BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
_LONGEST = 512


@dataclass(frozen=True)
class Event:
    """One half of a call. `kind` is "" for an event of another type; `data` is the payload's bytes."""

    id: str
    kind: Literal["request", "response", ""]
    data: bytes
    time: datetime | None = None
    service: str = ""
    namespace: str = ""
    component: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the request, as far as the InferenceService's logger.metadataHeaders names them; names in lower case."""
    annotations: Mapping[str, str] = field(default_factory=dict)


def read(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """The events of one call, all or none; raises Malformed. `headers`: names in lower case."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _STRUCTURED:
        return [_structured(_json(body))]
    if kind == _BATCHED:
        found = _json(body)
        if not isinstance(found, list) or len(found) > MOST_EVENTS:
            raise Malformed(f"a batch must be a list of at most {MOST_EVENTS} events")
        return [_structured(one) for one in found]
    attributes = {name[3:]: _decoded(text) for name, text in headers.items() if name.startswith("ce-")}
    if "id" not in attributes:
        raise Malformed(
            "no CloudEvent: expected the headers ce-specversion, ce-id, ce-type and ce-source, "
            f"or content-type {_STRUCTURED}"
        )
    return [_event(attributes, body)]


def _structured(found: Any) -> Event:
    if not isinstance(found, dict):
        raise Malformed(f"an event must be a JSON object, found {type(found).__name__}")
    if "data_base64" in found:
        try:
            data = base64.b64decode(str(found["data_base64"]), validate=True)
        except (binascii.Error, ValueError):
            raise Malformed("data_base64: this is no base64") from None
    else:
        data = found["data"].encode() if isinstance(found.get("data"), str) else orjson.dumps(found.get("data"))
    named = {name: text for name, text in found.items() if name not in {"data", "data_base64"}}
    return _event({name: text if isinstance(text, str) else str(text) for name, text in named.items()}, data)


def _event(attributes: Mapping[str, str], data: bytes) -> Event:
    if not attributes.get("specversion", "").startswith("1."):
        raise Malformed(f"specversion: expected 1.0, found {attributes.get('specversion', '')[:20]!r}")
    for name in ("id", "type", "inferenceservicename", "namespace", "component"):
        text = attributes.get(name, "")
        if len(text) > _LONGEST or not text.isprintable():
            raise Malformed(f"{name}: expected at most {_LONGEST} printable characters")
    if not attributes.get("id") or not attributes.get("type"):
        raise Malformed("an event needs an id and a type")
    status = attributes.get("statuscode", "200")
    return Event(
        id=attributes["id"],
        kind=_TYPES.get(attributes["type"], ""),
        data=data,
        time=_time(attributes.get("time", "")),
        service=attributes.get("inferenceservicename", ""),
        namespace=attributes.get("namespace", ""),
        component=attributes.get("component", ""),
        status=int(status) if status.isascii() and status.isdigit() and len(status) == 3 else 500,
        headers={name.lower(): text for name, text in _texts(attributes.get("metadata", "")).items()},
        annotations=_texts(attributes.get("annotations", "")),
    )


def _texts(text: str) -> dict[str, str]:
    """A JSON object of texts, or of lists whose first text counts; what is none is nothing."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    items = found.items() if isinstance(found, dict) else ()
    firsts = {name: one[0] if isinstance(one, list) and one else one for name, one in items}
    return {name: one for name, one in firsts.items() if isinstance(one, str) and len(one) <= _LONGEST}


def _time(text: str) -> datetime | None:
    """The moment, None for none: an event is not refused for its clock."""
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _decoded(text: str) -> str:
    """As the HTTP binding writes header values: percent-encoded UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is no JSON: {error}") from None
