"""A second registry shows what the first one says, however often it is away; the loop never waits for it."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.registry.bundles import Bundles
from trimtab.adapters.registry.kubeflow import KubeflowRegistry, ModelRegistryClient
from trimtab.adapters.registry.memory import MemoryRegistry
from trimtab.adapters.registry.mirror import MirroredRegistry, Publisher
from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion
from trimtab.testing.model_registry_api import ModelRegistryApi
from trimtab.testing.registries import RegistrySuite

LONG = 3600.0  # nothing is tried again by itself


def made(name: str, version: str, digest: str = "") -> RegisteredVersion:
    evidence = {"verdict": "pass", "metrics": {"accuracy": {"value": 0.9}}}
    return RegisteredVersion(name, version, digest or f"sha256:{name}{version}", Path("/bundle"), evidence, "s3://b/x")


class Mirrored:
    """A first registry in memory, the second behind its API; as many processes as are asked for."""

    def __init__(self, api: ModelRegistryApi, folder: Path) -> None:
        self.api, self._folder, self.truth = api, folder, MemoryRegistry()
        for name in ("a", "b"):
            for version in ("1", "2"):
                self.truth.add(made(name, version))

    def process(self, retry_seconds: float = LONG, url: str = "") -> tuple[MirroredRegistry, Publisher]:
        client = ModelRegistryClient(url or self.api.url, timeout_seconds=1.0)
        publisher = Publisher(KubeflowRegistry(client, Bundles(self._folder)), retry_seconds)
        return MirroredRegistry(self.truth, publisher), publisher

    def shows(self, name: str) -> dict[str, Any]:
        """Versions and aliases of a model, as people see them."""
        models = [one for one in self.api.those["registered_models"].values() if one["name"] == name]
        if not models:
            return {}
        versions = self.api.those["model_versions"].values()
        aliases = self.api.properties("registered_models", name)
        return {
            "versions": [one["name"] for one in versions if one["registeredModelId"] == models[0]["id"]],
            **{key.removeprefix("trimtab.alias."): one for key, one in aliases.items() if "alias" in key},
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Mirrored]:
    with ModelRegistryApi() as api:
        yield Mirrored(api, tmp_path)


def soon(held: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not held():
        assert time.monotonic() < until
        time.sleep(0.01)


class TestMirrored(RegistrySuite):
    """To the loop it is the first registry, whether the second is there or not."""

    @pytest.fixture
    def versions(self) -> list[RegisteredVersion]:
        return [made("a", "1"), made("a", "2")]

    @pytest.fixture(params=["there", "away"])
    def registry(self, world: Mirrored, request: pytest.FixtureRequest) -> MirroredRegistry:
        self._truth = world.truth
        return world.process(url="" if request.param == "there" else "http://127.0.0.1:1")[0]

    def alias(self, registry: Any, name: str, alias: str) -> str | None:
        return self._truth.aliases.get((name, alias))


def test_versions_and_alias_moves_are_shown_soon(world: Mirrored) -> None:
    registry, publisher = world.process()
    registry.version("a", "1")
    registry.set_alias("a", "champion", "1")
    soon(lambda: world.shows("a") == {"versions": ["1"], "champion": "1"})
    registry.set_alias("a", "challenger", "2")
    registry.set_alias("a", "champion", "2")
    registry.set_alias("a", "challenger", None)
    soon(lambda: world.shows("a") == {"versions": ["1", "2"], "champion": "2"})
    soon(publisher.bring)
    assert publisher.trouble("a") == ""


def test_what_is_shown_is_not_looked_at_again_and_by_another_process_only_looked_at(world: Mirrored) -> None:
    for methods in ({"GET", "POST", "PATCH"}, {"GET"}):
        registry, publisher = world.process()
        for _ in range(3):
            registry.version("a", "1")
            registry.set_alias("a", "champion", "1")
            publisher.flush(10)
        assert {method for method, _ in world.api.calls} == methods
        assert len([path for _, path in world.api.calls if path == "model_artifact"]) == 1
        world.api.calls.clear()


def test_a_registry_that_says_nothing_holds_up_no_turn(world: Mirrored) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        registry, publisher = world.process(url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        for name in ("a", "b"):
            registry.version(name, "1")
            registry.set_alias(name, "champion", "1")
        assert time.monotonic() - began < 0.5
        soon(lambda: bool(publisher.trouble("a") and publisher.trouble("b")))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_while_it_is_away_it_is_said_once_and_all_is_caught_up_by_itself(
    world: Mirrored, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.failing = status
    registry, publisher = world.process(retry_seconds=0.05)
    with caplog.at_level(logging.INFO):
        registry.set_alias("a", "champion", "1")
        registry.set_alias("b", "champion", "1")
        registry.set_alias("a", "champion", "2")
        soon(lambda: bool(publisher.trouble("a") and publisher.trouble("b")))
        asked = len(world.api.calls)
        soon(lambda: len(world.api.calls) > asked + 3)
        assert str(status) in publisher.trouble("a")
        assert "The loop goes on; its versions are shown there later" in publisher.trouble("b")
        assert world.shows("a") == {}
        world.api.failing = 0
        soon(lambda: world.shows("a") == {"versions": ["1", "2"], "champion": "2"})
        soon(lambda: world.shows("b") == {"versions": ["1"], "champion": "1"})
        soon(lambda: publisher.trouble("a") == publisher.trouble("b") == "")
    warnings = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert 1 <= len(warnings) <= 2
    assert len(warnings) == len(set(warnings))
    assert any("shows everything again" in one.message for one in caplog.records)


def test_a_process_that_starts_while_others_are_behind_shows_what_serves(world: Mirrored) -> None:
    registry, publisher = world.process(url="http://127.0.0.1:1")  # it ends before anybody answers there
    registry.version("a", "1")
    registry.set_alias("a", "champion", "2")
    assert not publisher.bring()
    registry, publisher = world.process()
    registry.set_alias("a", "champion", "2")  # as every loop does in its first turn
    publisher.flush(10)
    assert world.shows("a") == {"versions": ["2"], "champion": "2"}


def test_a_refusal_of_one_model_is_its_own(world: Mirrored) -> None:
    other = KubeflowRegistry(ModelRegistryClient(world.api.url), Bundles(Path("/none")))
    other.publish(made("a", "1", "sha256:somebody-elses"))
    registry, publisher = world.process()
    registry.set_alias("a", "champion", "1")
    registry.set_alias("b", "champion", "1")
    assert not publisher.bring()
    assert "another digest" in publisher.trouble("a")
    assert (publisher.trouble("b"), world.shows("b")) == ("", {"versions": ["1"], "champion": "1"})
    assert world.shows("a") == {"versions": ["1"]}  # never is a version called champion that is not the one


def test_two_that_show_the_same_at_once(world: Mirrored) -> None:
    processes = [world.process() for _ in range(2)]
    for registry, _ in processes:
        registry.set_alias("a", "champion", "1")
    for _, publisher in processes:
        publisher.flush(10)
        assert publisher.trouble("a") == ""
    assert world.shows("a") == {"versions": ["1"], "champion": "1"}
    assert [len(those) for those in world.api.those.values()] == [1, 1, 1]


def test_what_the_first_registry_refuses_is_shown_nowhere(world: Mirrored) -> None:
    registry, publisher = world.process()
    with pytest.raises(TrimtabError):
        registry.set_alias("a", "champion", "999")
    assert publisher.bring()
    assert world.api.calls == []
