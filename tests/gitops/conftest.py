"""A repository with a loop that writes to it, as values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.adapters.git import Credentials
from trimtab.ports.delivery import Served, Wanted, Why
from trimtab.spec.release import GitOps
from trimtab.testing.git_places import Place

FILE = "releases/orders/release.yaml"


def served(version: str) -> Served:
    return Served(version, f"sha256:{version * 64}"[:71], Path("/models") / version)


def uri(bundle: Path) -> str:
    return f"s3://models/orders/{bundle.name}"


def step(percent: int) -> Wanted:
    return Wanted(served("1"), served("2"), percent)


def why(turn: int = 1, **decision: Any) -> Why:
    told = {"kind": "step", "version": "2", "sentence": "Version 2 gets more.", "evidence": {"requests": 7}}
    return Why(turn, [{**told, **decision}])


ALONE, TWO = Wanted(served("1")), Wanted(served("2"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


@pytest.fixture
def writer(place: Place, tmp_path: Path) -> Callable[..., GitDelivery]:
    """Another controller with a cache of its own, for the same loop."""
    made: list[GitDelivery] = []

    def make(url: str = "", timeout_seconds: float = 20.0, **more: Any) -> GitDelivery:
        where = GitOps(repository=url or place.url)
        folder = tmp_path / f"cache-{len(made)}"
        made.append(GitDelivery(folder, "orders", where, Credentials(), uri, timeout_seconds=timeout_seconds, **more))
        return made[-1]

    return make
