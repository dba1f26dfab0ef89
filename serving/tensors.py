"""The V2 protocol's tensors, one a column, as rows; the same for JSON, for binary data behind the JSON, and for gRPC.

Values are taken as they were sent and never bent into a datatype: 1.5 in an INT64 tensor is refused, not cut to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput, deserialize_bytes_tensor

from trimtab.serving.refusals import Malformed

OUTPUTS = ("prediction", "scores")
_WHOLE = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
_BINARY = {
    **_FLOATS,
    **{name: f"<{'u' if sign else 'i'}{bits // 8}" for name, (sign, bits) in _WHOLE.items()},
    "BOOL": "?",
}
_KNOWN = ", ".join([*sorted(_BINARY), "BYTES"])
_MOST_COLUMNS = 10_000


def request(body: bytes, json_bytes: int | None, model: str) -> InferRequest:
    """A REST body as a request; `json_bytes` is the length of its JSON if binary data follow. Raises Malformed."""
    text = body if json_bytes is None else body[:json_bytes]
    found = parse(text)
    inputs = found.get("inputs")
    if not isinstance(inputs, list) or not inputs or len(inputs) > _MOST_COLUMNS:
        raise Malformed(
            'expected {"inputs": [{"name", "shape", "datatype", "data"}, ...]}, one input a column, '
            f"1 to {_MOST_COLUMNS} of them"
        )
    if not isinstance(found.get("id"), str | None):
        raise Malformed("id: expected text")
    tensors, at = [], len(text)
    for number, one in enumerate(inputs):
        tensor, size = _input(one, number, body, at)
        tensors.append(tensor)
        at += size
    if at != len(body):
        raise Malformed(f"{len(body) - at} bytes follow that no input's binary_data_size tells of")
    return InferRequest(
        model_name=model,
        infer_inputs=tensors,
        request_id=found.get("id"),
        parameters=_parameters(found, "the request"),
        request_outputs=_outputs(found.get("outputs")),
    )


def parse(text: bytes) -> dict[str, Any]:
    """A JSON object; raises Malformed for anything else."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Malformed(f"the body must be a JSON object, found {type(found).__name__}")
    return found


def rows(request: InferRequest) -> list[dict[str, Any]]:
    """Row dictionaries; NaN, which is how a tensor says that a number is missing, becomes None."""
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise Malformed(f"input {tensor.name!r} is there twice")
        columns[tensor.name] = _values(tensor)
    lengths = {len(values) for values in columns.values()}
    if not columns or lengths == {0}:
        raise Malformed("no rows; send one tensor a column, each of shape [rows]")
    if len(lengths) > 1:
        found = {name: len(values) for name, values in columns.items()}
        raise Malformed(f"inputs must all have the same number of rows; found {found}")
    names = list(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def check_outputs(request: InferRequest, known: tuple[str, ...]) -> None:
    """Refuse outputs that the model does not have, before anything is computed."""
    for output in request.request_outputs or ():
        if output.name not in known:
            raise Malformed(f"outputs: there is no {output.name!r}; the outputs are {', '.join(known)}")


def _input(one: Any, number: int, body: bytes, at: int) -> tuple[InferInput, int]:
    """The tensor, and how many bytes behind the JSON are its own."""
    where = f"inputs[{number}]"
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise Malformed(f"{where}: expected an object with a name")
    where = f"input {one['name'][:200]!r}"
    shape, datatype, data = one.get("shape"), one.get("datatype"), one.get("data")
    if not isinstance(datatype, str) or not (datatype in _BINARY or datatype == "BYTES"):
        raise Malformed(f"{where}: datatype {str(datatype)[:50]!r} is not known; expected one of {_KNOWN}")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise Malformed(f"{where}: shape must be a list of whole numbers")
    tensor = InferInput(name=one["name"], shape=shape, datatype=datatype, parameters=_parameters(one, where))
    size = (tensor.parameters or {}).get("binary_data_size")
    if isinstance(data, list) and size is None:
        tensor.data = data
        return tensor, 0
    if data is not None or type(size) is not int or not 0 <= size <= len(body) - at:
        raise Malformed(f"{where}: expected data as a list, or a binary_data_size of at most the bytes that follow")
    tensor._raw_data = body[at : at + size]
    return tensor, size


def _parameters(one: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    found = one.get("parameters")
    if not isinstance(found, dict | None):
        raise Malformed(f"{where}: parameters must be an object")
    return found


def _outputs(found: Any) -> list[RequestedOutput] | None:
    if found is None or found == []:
        return None
    if not isinstance(found, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in found
    ):
        raise Malformed("outputs: expected a list of objects with a name")
    return [RequestedOutput(one["name"], _parameters(one, f"output {one['name'][:200]!r}")) for one in found]


def _values(tensor: InferInput) -> list[Any]:
    """One value a row."""
    shape, where = list(tensor.shape), f"input {tensor.name[:200]!r}"
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise Malformed(f"{where}: shape {str(shape)[:80]}; expected [rows] or [rows, 1]")
    values = tensor.data if tensor._raw_data is None else _unpacked(tensor, where)
    if values and isinstance(values[0], list):
        if not all(isinstance(one, list) and len(one) == 1 for one in values):
            raise Malformed(f"{where}: data does not have the shape {shape}")
        values = [one[0] for one in values]
    if len(values) != shape[0]:
        raise Malformed(f"{where}: {len(values)} values do not fit the shape {shape}")
    read = _reader(tensor.datatype)
    found = [read(value) for value in values]
    for value, taken in zip(values, found, strict=True):
        if taken is _UNFIT:
            raise Malformed(f"{where}: {repr(value)[:80]} is no {tensor.datatype}")
    return found


def _unpacked(tensor: InferInput, where: str) -> list[Any]:
    """Values from their binary form."""
    raw: bytes = tensor._raw_data
    if tensor.datatype == "BYTES":
        try:
            return list(deserialize_bytes_tensor(raw))
        except Exception as error:  # noqa: BLE001 - struct.error, or a length that runs past the end
            raise Malformed(f"{where}: its bytes are not length-prefixed texts: {error}") from None
    dtype = np.dtype(_BINARY[tensor.datatype])
    if len(raw) % dtype.itemsize:
        raise Malformed(f"{where}: {len(raw)} bytes are no whole number of {tensor.datatype}")
    found: list[Any] = np.frombuffer(raw, dtype=dtype).tolist()
    return found


_UNFIT = object()


def _reader(datatype: str) -> Callable[[Any], Any]:
    """A function from a sent value to the row's value; `_UNFIT` if it is none of this datatype, None if missing."""
    if datatype == "BYTES":
        return _text
    if datatype == "BOOL":
        return lambda value: value if value is None or isinstance(value, bool) else _UNFIT
    if datatype in _FLOATS:
        return _number
    sign, bits = _WHOLE[datatype]
    low, high = (0, 2**bits) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return lambda value: value if value is None or (type(value) is int and low <= value < high) else _UNFIT


def _number(value: Any) -> Any:
    if value is None or type(value) is int:
        return value
    if not isinstance(value, float):
        return _UNFIT
    return None if math.isnan(value) else value


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value if value is None or isinstance(value, str) else _UNFIT
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return _UNFIT
