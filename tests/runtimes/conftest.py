"""One bundle for all runtimes, and one process for the tests of a runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_process import Running, started, wait_ready

from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle

_LAST = "test_sigterm_ends_it_and_the_log_holds_exactly_what_was_answered"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    contract = {
        "weight": {"type": "number", "unit": "g", "min": 1, "max": 200},
        "sex": {"type": "string", "domain": ["F", "M"]},
    }
    data = bundles.document().model_dump(by_alias=True, mode="json")["spec"]["data"]
    # the default estimator: it keeps a random generator, which not every numpy can unpickle
    training = {"estimator": "HistGradientBoostingClassifier"}
    document = bundles.document(data={**data, "contract": contract}, training=training)
    return bundles.make(tmp_path_factory.mktemp("bundle") / "b", document)


@pytest.fixture(scope="class")
def server(
    request: pytest.FixtureRequest, made: MadeBundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with started(request.cls.runtime, made.folder, made.digest, tmp_path_factory.mktemp("home")) as running:
        wait_ready(running)
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ends the process comes last in its file, behind the tests that a runtime has of its own."""
    first: dict[Path, int] = {}
    for at, item in enumerate(items):
        first.setdefault(item.path, at)
    items.sort(key=lambda item: (first[item.path], item.name == _LAST))
