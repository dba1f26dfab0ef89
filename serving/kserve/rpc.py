"""KServe's gRPC server on one address, with metadata on its answers and a status for each mistake."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent import futures
from typing import Any

from grpc import StatusCode, aio
from grpc_interceptor import AsyncServerInterceptor
from kserve import InferRequest, errors
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from trimtab.serving.refusals import Unanswered

_KSERVE_CODES = {
    errors.InvalidInput: StatusCode.INVALID_ARGUMENT,
    errors.ModelNotFound: StatusCode.NOT_FOUND,
    NotImplementedError: StatusCode.UNIMPLEMENTED,
    errors.ModelNotReady: StatusCode.UNAVAILABLE,
    errors.ServerNotLive: StatusCode.UNAVAILABLE,
    errors.ServerNotReady: StatusCode.UNAVAILABLE,
}

log = logging.getLogger("trimtab.server")


class _Servicer(InferenceServicer):  # type: ignore[misc]  # kserve has no types
    """KServe's, but its answers carry the request's id and the version in their initial metadata."""

    def __init__(self, plane: DataPlane, repository: ModelRepositoryExtension, version: str) -> None:
        super().__init__(plane, repository)
        self._version = version

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Predict."""
        if request.model_version not in ("", self._version):
            raise errors.ModelNotFound(f"{request.model_name}, version {request.model_version[:64]!r},")
        self.validate_grpc_request(request)
        headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        found, said = await self._data_plane.infer(
            request=InferRequest.from_grpc(request), headers=headers, model_name=request.model_name
        )
        await context.send_initial_metadata(tuple(said.items()))
        return found.to_grpc()


class _Statuses(AsyncServerInterceptor):
    """Turns what a method raised into a status with a sentence."""

    def __init__(self, count_unanswered: Callable[[int], None]) -> None:
        self._count = count_unanswered

    async def intercept(self, method: Any, request: Any, context: Any, method_name: str) -> Any:
        """Call the method."""
        try:
            return await method(request, context)
        except Unanswered as error:
            self._count(error.status)
            code, sentence = StatusCode[error.grpc], str(error)
        except tuple(_KSERVE_CODES) as error:
            code = next(code for kind, code in _KSERVE_CODES.items() if isinstance(error, kind))
            sentence = str(error)
        except Exception as error:
            log.exception("%s failed", method_name)
            code, sentence = StatusCode.INTERNAL, f"the server made a mistake ({type(error).__name__})"
        await context.abort(code, sentence[:2000])  # raises; a longer one might not fit into a header
        return None


class RpcServer:
    """The gRPC face of one version."""

    def __init__(
        self,
        plane: DataPlane,
        repository: ModelRepositoryExtension,
        version: str,
        max_body_bytes: int,
        count_unanswered: Callable[[int], None],
    ) -> None:
        self._count = count_unanswered
        self._parts = (plane, repository, version)
        self._max_body_bytes = max_body_bytes
        self._server: aio.Server | None = None

    async def start(self, address: str) -> None:
        """Listen on host:port; raises OSError if it is taken."""
        options = [
            ("grpc.max_receive_message_length", self._max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else another server could share the port and answer for this version
        ]
        self._server = aio.server(
            futures.ThreadPoolExecutor(1), interceptors=(_Statuses(self._count),), options=options
        )
        grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(*self._parts), self._server)
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(98, f"cannot listen on {address}") from error
        await self._server.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no new call; end when those under way are answered, at most after `grace_seconds`."""
        if self._server is not None:
            await self._server.stop(grace_seconds)
