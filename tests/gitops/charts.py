"""The charts' own way to render and judge, from where the charts are tested."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def rendering() -> Any:
    """tests/helm/rendering.py, whether or not the charts' tests take part in this run."""
    spec = importlib.util.spec_from_file_location("chart_rendering", ROOT / "tests/helm/rendering.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tests/helm"))
        spec.loader.exec_module(module)
    return module


def helms() -> Any:
    """`rendering` with a helm; skips without one."""
    module = rendering()
    if not module.helms():
        pytest.skip(module.NO_HELM)
    return module
