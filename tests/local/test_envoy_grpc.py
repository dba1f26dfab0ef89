"""gRPC through the router's one port."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from trimtab.ports.router import Routes, Target
from trimtab.testing.envoy_world import EnvoyWorld

pytestmark = pytest.mark.local
_INFER = "/inference.GRPCInferenceService/ModelInfer"


class _Grpc(grpc.GenericRpcHandler):
    """Answers every method with the version's name, or fails as told."""

    def __init__(self, version: str) -> None:
        self.version, self.failing, self.copies = version, False, 0

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
            if self.failing:
                context.abort(grpc.StatusCode.INTERNAL, "told to fail")
            return f"{self.version} {details.method}".encode()

        return grpc.unary_unary_rpc_method_handler(answer)


class _GrpcWorld(EnvoyWorld):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.handlers: dict[str, _Grpc] = {}
        self.running: list[grpc.Server] = []

    def grpc_server(self, version: str) -> Target:
        handler = self.handlers[version] = _Grpc(version)
        server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self.running.append(server)
        return replace(self.server(version), grpc_address=f"127.0.0.1:{port}")

    def close(self) -> None:
        super().close()
        for server in self.running:
            server.stop(None).wait()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_GrpcWorld]:
    world = _GrpcWorld(tmp_path)
    yield world
    world.close()


def _call(world: _GrpcWorld, method: str = _INFER, count: int = 1, **metadata: str) -> Counter[str]:
    with grpc.insecure_channel(world.router.address) as channel:
        ask = channel.unary_unary(method)
        found = Counter()
        for number in range(count):
            headers = [
                ("x-request-id", f"g-{number}"),
                *((key.replace("_", "-"), value) for key, value in metadata.items()),
            ]
            found[ask(b"rows", metadata=headers, timeout=10).decode().split()[0]] += 1
        return found


def test_shares_track_and_fallback_hold_for_grpc(world: _GrpcWorld) -> None:
    stable, candidate = world.grpc_server("1"), world.grpc_server("2")
    world.router.apply(Routes(stable, candidate, 50))
    found = _call(world, count=100)
    assert 25 <= found["1"] <= 75
    assert found["1"] + found["2"] == 100
    assert _call(world, x_model_track="candidate") == {"2": 1}
    world.handlers["2"].failing = True
    assert _call(world, count=40) == {"1": 40}
    counted = world.router.traffic()
    assert counted["1"].failures == 0
    assert 0 < counted["2"].failures < counted["2"].requests
    assert counted["1"].requests + counted["2"].requests == 141


def test_rest_and_grpc_are_answered_on_the_same_port(world: _GrpcWorld) -> None:
    world.router.apply(Routes(world.grpc_server("1")))
    assert world.send("rest") == "1"
    assert _call(world) == {"1": 1}


def test_a_server_without_grpc_is_left_out(world: _GrpcWorld) -> None:
    world.router.apply(Routes(world.server("1"), world.grpc_server("2"), 0))
    assert world.send("rest") == "1"
    with pytest.raises(grpc.RpcError) as failure:
        _call(world)
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE


def test_nobody_can_unload_a_model_through_the_router(world: _GrpcWorld) -> None:
    world.router.apply(Routes(world.grpc_server("1")))
    with pytest.raises(grpc.RpcError) as failure:
        _call(world, "/inference.GRPCInferenceService/RepositoryModelUnload")
    assert failure.value.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
