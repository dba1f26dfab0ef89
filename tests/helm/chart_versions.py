"""The chart of the next version: the present one with another version, and so other tags of its images."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from rendering import ROOT

NEXT = "0.2.0"


def bumped(chart: str, folder: Path) -> Path:
    """A copy of the chart as it will be when the next version is released; its folder."""
    made = folder / "next" / chart
    shutil.copytree(ROOT / "helm" / chart, made)
    about = yaml.safe_load((made / "Chart.yaml").read_text())
    assert NEXT not in (about["version"], about["appVersion"])
    (made / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": NEXT, "appVersion": NEXT}))
    return made
