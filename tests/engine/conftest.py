"""One warm host for all tests of the engine."""

from __future__ import annotations

from collections.abc import Iterator
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
