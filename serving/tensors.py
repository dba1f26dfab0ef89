"""The V2 protocol's requests as KServe's own objects, checked: from JSON, from binary data behind it, and from gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

from trimtab.serving import tensor_values
from trimtab.serving.refusals import Malformed
from trimtab.serving.signature import OUTPUTS
from trimtab.serving.tensor_values import DATATYPES, KNOWN, parse

__all__ = ["OUTPUTS", "check_outputs", "parse", "request", "rows"]

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


def rows(request: InferRequest) -> list[dict[str, Any]]:
    """Row dictionaries; NaN, which is how a tensor says that a number is missing, becomes None."""
    columns = []
    for tensor in request.inputs:
        data = tensor.data if tensor._raw_data is None else tensor._raw_data
        columns.append((tensor.name, tensor_values.read(tensor.name, tensor.shape, tensor.datatype, data)))
    return tensor_values.rows(columns)


def check_outputs(request: InferRequest, known: tuple[str, ...]) -> None:
    """Refuse outputs that the model does not have, before anything is computed."""
    tensor_values.wanted([output.name for output in request.request_outputs or ()], known)


def _input(one: Any, number: int, body: bytes, at: int) -> tuple[InferInput, int]:
    """The tensor, and how many bytes behind the JSON are its own."""
    where = f"inputs[{number}]"
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise Malformed(f"{where}: expected an object with a name")
    where = f"input {one['name'][:200]!r}"
    shape, datatype, data = one.get("shape"), one.get("datatype"), one.get("data")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise Malformed(f"{where}: datatype {str(datatype)[:50]!r} is not known; expected one of {KNOWN}")
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
