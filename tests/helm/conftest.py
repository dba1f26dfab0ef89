"""Tests of a chart run with Helm 3 and with Helm 4 (`executable`); those of what both render with one (`a_helm`)."""

import pytest
from rendering import NO_HELM, helms


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture in {"executable", "a_helm"} & set(metafunc.fixturenames):
        found = helms() if fixture == "executable" else helms()[:1]
        ids = [f"helm{path.rsplit('/', 2)[-2]}" for path in found]
        marked = [pytest.param("", marks=pytest.mark.skip(reason=NO_HELM))]
        metafunc.parametrize(fixture, found or marked, ids=ids or ["no-helm"])
