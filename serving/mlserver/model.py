"""The inference runtime for MLServer: V2 requests, by REST and by gRPC, to the shared answering."""

from __future__ import annotations

import os
from typing import Any

from mlserver import MLModel
from mlserver.errors import MLServerError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, Parameters, RequestInput

from trimtab.serving import tensor_values
from trimtab.serving.answering import Answering
from trimtab.serving.asked import Protocol
from trimtab.serving.refusals import Malformed, Unanswered
from trimtab.serving.served import Served
from trimtab.serving.signature import Tensor


class BundleModel(MLModel):  # type: ignore[misc]  # mlserver's classes are Any where it is not installed
    """Serves the version that the environment names (trimtab.serving.served)."""

    async def load(self) -> bool:
        """Check the bundle, load it and open its log; raises TrimtabError, and then MLServer ends."""
        self._answering = Answering.open(Served.from_environment(os.environ))
        self.inputs = [_described(one) for one in self._answering.inputs]
        self.outputs = [_described(one) for one in self._answering.outputs]
        return True

    async def unload(self) -> bool:
        """Seal the log."""
        self._answering.close()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request; a refusal is MLServer's own error with our status."""
        parameters = payload.parameters
        headers: dict[str, str] = (parameters.headers if parameters else None) or {}
        # grpcio names itself in every call's metadata, and in no HTTP request
        protocol: Protocol = "grpc" if headers.get("user-agent", "").startswith("grpc-") else "v2"
        try:
            wanted = tensor_values.wanted(
                [one.name for one in payload.outputs or ()], [one.name for one in self._answering.outputs]
            )
            rows = tensor_values.rows([_column(one) for one in payload.inputs])
            answered = self._answering.answer(rows, payload.id, protocol, headers)
        except Unanswered as error:
            raise MLServerError(str(error), error.status) from error
        said = answered.to_v2(self.name, wanted)
        # MLServer gives the answer the request's id, and turns these headers into HTTP's or gRPC's
        payload.id = said["id"]
        return InferenceResponse(**said, parameters=Parameters(headers=answered.headers))


def _described(tensor: Tensor) -> MetadataTensor:
    return MetadataTensor(**tensor.to_json())


def _column(tensor: RequestInput) -> tuple[str, list[Any]]:
    data = tensor.data.root
    if not isinstance(data, list | bytes):
        raise Malformed(f"input {tensor.name[:200]!r}: expected data as a list")
    return tensor.name, tensor_values.read(tensor.name, tensor.shape, tensor.datatype, data)
