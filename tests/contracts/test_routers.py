"""The router contract over every adapter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters.router.memory import MemoryRouter
from trimtab.ports.router import Target
from trimtab.testing.envoy_world import EnvoyWorld
from trimtab.testing.routers import RouterSuite


class MemoryWorld:
    def __init__(self) -> None:
        self.router = MemoryRouter()

    def server(self, version: str) -> Target:
        return Target(version, f"memory:{version}")

    def fail(self, version: str) -> None:
        self.router.down.add(version)

    def send(self, request_id: str, track: str = "") -> str | None:
        return self.router.send(request_id, track)


class TestMemory(RouterSuite):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()


@pytest.mark.local
class TestEnvoy(RouterSuite):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[EnvoyWorld]:
        world = EnvoyWorld(tmp_path)
        yield world
        world.close()
