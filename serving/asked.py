"""Reading a request, whatever its protocol, into rows; everything from outside is checked here or in the contract."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import orjson
from kserve import InferRequest
from kserve.errors import InvalidInput
from kserve.protocol.infer_type import InferInput

from trimtab.stages.contract import Contract

LONGEST_ID = 256
VIRTUAL_TIME = "x-trimtab-time"


class Refused(InvalidInput):  # type: ignore[misc] - kserve has no types
    """A request that breaks the contract. kserve's own name for it keeps gRPC's INVALID_ARGUMENT."""


@dataclass(frozen=True)
class Asked:
    """A request: n rows with an id each, at one time."""

    request_id: str
    ids: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    time: datetime
    protocol: Literal["v1", "v2", "grpc"]
    shadow: bool
    attempt: int


def read(payload: Any, headers: Mapping[str, str], contract: Contract, max_rows: int, virtual_time: bool) -> Asked:
    """Check and read; raises InvalidInput for what is no request at all, Refused for rows that break the contract."""
    if isinstance(payload, InferRequest):
        rows = _tensors(payload)
        protocol: Literal["v1", "v2", "grpc"] = "grpc" if payload.from_grpc else "v2"
        given = payload.id
    else:
        rows = _instances(payload)
        protocol, given = "v1", None
    if len(rows) > max_rows:
        raise Refused(f"{len(rows)} rows in one request; at most {max_rows} are taken (serving.limits.maxRows)")
    request_id = _id(given or headers.get("x-request-id"))
    for number, row in enumerate(rows):
        problem = contract.refuse_row(row)
        if problem is not None:
            raise Refused(problem if len(rows) == 1 else f"row {number}: {problem}")
    ids = (request_id,) if len(rows) == 1 else tuple(f"{request_id}-{number}" for number in range(len(rows)))
    attempt = headers.get("x-envoy-attempt-count", "1")
    return Asked(
        request_id=request_id,
        ids=ids,
        rows=tuple(rows),
        time=_time(headers, virtual_time),
        protocol=protocol,
        shadow="-shadow" in headers.get("host", ""),
        attempt=int(attempt) if attempt.isdigit() and len(attempt) < 4 else 1,
    )


def _id(given: str | None) -> str:
    if not given:
        return str(uuid.uuid4())
    if len(given) > LONGEST_ID or not given.isprintable():
        raise InvalidInput(f"the request's id must be 1 to {LONGEST_ID} printable characters")
    return given


def _time(headers: Mapping[str, str], virtual_time: bool) -> datetime:
    text = headers.get(VIRTUAL_TIME) if virtual_time else None
    if text is None:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise InvalidInput(f"{VIRTUAL_TIME}: {text[:64]!r} is no ISO 8601 time") from None


def _instances(payload: Any) -> list[dict[str, Any]]:
    if isinstance(payload, (bytes, str)):  # a client that did not say application/json, such as plain curl -d
        try:
            payload = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"the body is no JSON: {error}") from None
    instances = payload.get("instances") if isinstance(payload, dict) else None
    if not isinstance(instances, list) or not instances:
        raise InvalidInput('expected {"instances": [{"column": value, ...}, ...]} with at least one row')
    for number, row in enumerate(instances):
        if not isinstance(row, dict):
            raise InvalidInput(f"instances[{number}]: expected an object of columns, found {type(row).__name__}")
    return instances


def _tensors(request: InferRequest) -> list[dict[str, Any]]:
    if not request.inputs:
        raise InvalidInput("no inputs; send one tensor a column, each of shape [rows]")
    columns: dict[str, Sequence[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise InvalidInput(f"input {tensor.name!r} is there twice")
        columns[tensor.name] = _values(tensor)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise InvalidInput(f"inputs must all have the same number of rows, at least one; found {lengths}")
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _values(tensor: InferInput) -> list[Any]:
    shape = list(tensor.shape)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise InvalidInput(f"input {tensor.name!r}: shape {shape}; expected [rows] or [rows, 1]")
    try:
        array = np.asarray(
            tensor.as_numpy() if tensor.datatype != "BYTES" or not isinstance(tensor.data, list) else tensor.data,
            dtype=object,
        )
        return [_scalar(value) for value in array.reshape(-1).tolist()]
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"input {tensor.name!r}: data does not fit shape {shape} and datatype {tensor.datatype}: {error}"
        ) from None


def _scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    # Tensors have no null: NaN is how they say that a number is missing.
    return None if isinstance(value, float) and math.isnan(value) else value
