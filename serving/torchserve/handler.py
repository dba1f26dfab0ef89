"""The handler that TorchServe's worker calls: V1 and V2 bodies in JSON, put to the shared answering."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import orjson
from ts.utils.util import PredictionException

from trimtab.serving import tensor_values
from trimtab.serving.answering import Answered, Answering
from trimtab.serving.asked import ATTEMPT, REQUEST_ID, SHADOW, VIRTUAL_TIME, instances
from trimtab.serving.refusals import Malformed, Unanswered
from trimtab.serving.served import Served

_HEADERS = (REQUEST_ID, SHADOW, ATTEMPT, VIRTUAL_TIME, "host")


class BundleHandler:
    """Serves the version that the environment names (trimtab.serving.served). One request a batch."""

    def initialize(self, _context: Any) -> None:
        """Check the bundle, load it and open its log; raises TrimtabError, and then the worker is not ready."""
        self._answering = Answering.open(Served.from_environment(os.environ))

    def handle(self, data: list[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Answer one request; a refusal is TorchServe's own error with our status."""
        if len(data) != 1:
            raise PredictionException("batchSize must be 1: a refusal is the whole batch's in TorchServe", 500)
        headers = {name: found for name in _HEADERS if (found := context.get_request_header(0, name)) is not None}
        try:
            answered, reply = self._answered(_body(data[0]), headers)
        except Unanswered as error:
            raise PredictionException(str(error), error.status) from error
        for name, value in answered.headers.items():
            if name != REQUEST_ID:  # TorchServe's own, whatever is said here: the ids are in the answer's body
                context.set_response_header(0, name, value)
        context.set_response_content_type(0, "application/json")
        return [orjson.dumps(reply)]

    def _answered(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[Answered, dict[str, Any]]:
        if "inputs" not in body:
            answered = self._answering.answer(instances(body), None, "v1", headers)
            return answered, answered.to_v1()
        inputs, given, outputs = body["inputs"], body.get("id"), body.get("outputs") or []
        if not isinstance(inputs, list) or not isinstance(given, str | None) or not isinstance(outputs, list):
            raise Malformed("expected inputs and outputs as lists of objects, and id as text")
        names = [str(one.get("name")) if isinstance(one, Mapping) else str(one) for one in outputs]
        wanted = tensor_values.wanted(names, [one.name for one in self._answering.outputs])
        rows = tensor_values.rows([tensor_values.column(one) for one in inputs])
        answered = self._answering.answer(rows, given, "v2", headers)
        return answered, answered.to_v2(self._answering.served.name, wanted)


def _body(parts: Mapping[str, Any]) -> dict[str, Any]:
    """TorchServe reads JSON itself if the content type says so; everything else comes as bytes."""
    found = parts.get("body", parts.get("data"))
    if isinstance(found, bytes | bytearray):
        return tensor_values.parse(bytes(found))
    if not isinstance(found, dict):
        raise Malformed("the body must be a JSON object; send it as content-type: application/json")
    return found
