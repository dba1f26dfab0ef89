"""The marker of tests that want a real cluster."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: talks to the cluster of KUBECONFIG (opt-in; kind-* contexts only)")
