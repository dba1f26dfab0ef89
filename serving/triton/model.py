"""The model of Triton's Python backend: what the stub process asks, put to the shared answering.

A missing number is NaN. What no tensor can leave out (text, whole numbers, truth values) is named in the request's
parameter `missing`: JSON text such as {"sex": [0, 2]}, a column's rows. Triton has no headers of an answer, so that the
ids by which labels name the rows later are an output.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as backend  # only there in the stub process

from trimtab.serving import tensor_values
from trimtab.serving.answering import Answered, Answering
from trimtab.serving.refusals import Malformed, Unanswered
from trimtab.serving.served import Served
from trimtab.serving.signature import Tensor
from trimtab.serving.triton import numpy2_pickles
from trimtab.serving.triton.repository import IDS

MISSING = "missing"


class TritonPythonModel:
    """One version; Triton makes one of it, calls it from one thread, and gives it the requests that wait."""

    def initialize(self, _args: Mapping[str, str]) -> None:
        """Check the bundle, load it and open its log; raises TrimtabError, and then Triton ends."""
        numpy2_pickles.accept()
        self._answering = Answering.open(Served.from_environment(os.environ))
        self._datatypes = {one.name: one.datatype for one in self._answering.inputs}

    def execute(self, requests: list[Any]) -> list[Any]:
        """One answer or refusal a request; Triton's own errors carry the sentence."""
        return [self._answered(request) for request in requests]

    def finalize(self) -> None:
        """Seal the log."""
        self._answering.close()

    def _answered(self, request: Any) -> Any:
        try:
            told = json.loads(request.parameters() or "{}")
            rows = tensor_values.rows(self._columns(request, told))
            # headers that Triton was told to forward stand among the parameters, as the client spelt them
            headers = {name.lower(): value for name, value in told.items() if isinstance(value, str)}
            answered = self._answering.answer(rows, request.request_id() or None, "v2", headers)
        except Unanswered as error:
            code = "UNAVAILABLE" if error.status == 503 else "INTERNAL" if error.status == 500 else "INVALID_ARG"
            return backend.InferenceResponse(error=backend.TritonError(str(error), getattr(backend.TritonError, code)))
        return backend.InferenceResponse(_outputs(answered))

    def _columns(self, request: Any, told: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
        columns = []
        for tensor in request.inputs():
            name, values = tensor.name(), tensor.as_numpy()
            data = values.ravel().tolist()
            columns.append((name, tensor_values.read(name, values.shape, self._datatypes[name], data)))
        missing = _missing(told.get(MISSING))
        for name, values in columns:
            for row in missing.get(name, ()):
                if not 0 <= row < len(values):
                    raise Malformed(f"parameter {MISSING}: there is no row {row} of {name[:200]!r}")
                values[row] = None
        return columns


def _missing(text: Any) -> dict[str, list[int]]:
    try:
        found = json.loads(text) if text is not None else {}
        if all(type(row) is int for rows in found.values() for row in rows):
            return dict(found)
    except (ValueError, TypeError, AttributeError):
        pass
    raise Malformed(f'parameter {MISSING}: expected JSON text such as {{"sex": [0, 2]}}, a column\'s rows')


def _outputs(answered: Answered) -> list[Any]:
    values = {"prediction": answered.labels, "scores": answered.scores}
    found = [backend.Tensor(IDS.name, _array(list(answered.asked.ids), IDS))]
    return found + [backend.Tensor(one.name, _array(values[one.name], one)) for one in answered.outputs]


def _array(values: Any, tensor: Tensor) -> Any:
    dtype = {"BYTES": np.object_, "INT64": np.int64, "BOOL": np.bool_, "FP64": np.float64}[tensor.datatype]
    return np.array(values, dtype=dtype).reshape(len(values), -1)
