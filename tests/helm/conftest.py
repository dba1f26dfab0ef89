"""Every test of a chart runs with Helm 3 and with Helm 4."""

import pytest
from rendering import NO_HELM, helms


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "executable" in metafunc.fixturenames:
        found = helms()
        ids = [f"helm{path.rsplit('/', 2)[-2]}" for path in found]
        marked = [pytest.param("", marks=pytest.mark.skip(reason=NO_HELM))]
        metafunc.parametrize("executable", found or marked, ids=ids or ["no-helm"])
