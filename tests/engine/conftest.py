"""One warm host for all tests of the engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from laboratory import Laboratory

from trimtab.engine.warm import WarmHost


@pytest.fixture(scope="session")
def host() -> Iterator[WarmHost]:
    warm = WarmHost()
    yield warm
    warm.close()


@pytest.fixture
def lab(host: WarmHost, tmp_path: Path) -> Laboratory:
    return Laboratory(host, tmp_path)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A folder where tasks leave marks that they ran."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def fastest() -> Callable[[Callable[[], object]], float]:
    """The least of three times in seconds: other work on the machine only ever makes it longer."""

    def measure(work: Callable[[], object]) -> float:
        times = []
        for _ in range(3):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return min(times)

    return measure
