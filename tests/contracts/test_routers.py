"""The router contract over every adapter."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters.router.memory import MemoryRouter
from trimtab.ports.router import Target
from trimtab.testing.envoy_world import EnvoyWorld
from trimtab.testing.route_table import RouteTableSuite
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


_SENT = 400


class CountingWorld:
    """What becomes of predictions, found by sending them."""

    def __init__(self, world: MemoryWorld | EnvoyWorld) -> None:
        self.world, self.router = world, world.router
        self._targets: dict[str, Target] = {}

    def server(self, version: str) -> Target:
        if version not in self._targets:
            self._targets[version] = self.world.server(version)
        return self._targets[version]

    def fate(self, track: str = "") -> tuple[dict[str, float], dict[str, float]]:
        before = {version: one.mirrored for version, one in self.router.traffic().items()}
        answers = Counter(self.world.send(f"fate-{number}", track) for number in range(_SENT))
        shares = {version: 100 * count / _SENT for version, count in answers.items() if version is not None}
        found = self.router.traffic().items()
        copies = {version: 100 * (one.mirrored - before.get(version, 0)) / _SENT for version, one in found}
        return shares, {version: share for version, share in copies.items() if share}


class TestMemoryTable(RouteTableSuite):
    tolerance_percent = 12.5  # five standard deviations of 400 at one half

    @pytest.fixture
    def world(self) -> CountingWorld:
        return CountingWorld(MemoryWorld())


@pytest.mark.local
class TestEnvoyTable(RouteTableSuite):
    tolerance_percent = 12.5

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[CountingWorld]:
        world = EnvoyWorld(tmp_path)
        yield CountingWorld(world)
        world.close()


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
