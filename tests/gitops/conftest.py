"""A repository with a loop that writes to it, as values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deliveries import uri

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.adapters.git import Credentials
from trimtab.spec.release import GitOps
from trimtab.testing.git_places import Place


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
