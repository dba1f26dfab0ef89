"""One fitted bundle for all tests of this folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_app import Served, serve

from trimtab.stages.bundle import Predictor
from trimtab.testing import bundles


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    contract = {
        "weight": {"type": "number", "unit": "g", "min": 1, "max": 200},
        "sex": {"type": "string", "domain": ["F", "M"], "maxMissingShare": 0},
    }
    data = bundles.document().model_dump(by_alias=True, mode="json")["spec"]["data"]
    document = bundles.document(data={**data, "contract": contract})
    return bundles.make(tmp_path_factory.mktemp("bundle") / "b", document).load()


@pytest.fixture
def start(predictor: Predictor, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started = []

    def build(**settings: Any) -> Served:
        started.append(serve(predictor, tmp_path / "log", **settings))
        return started[-1]

    yield build
    for served in started:
        served.model.stop()


@pytest.fixture
def server(start: Callable[..., Served]) -> Served:
    return start()
