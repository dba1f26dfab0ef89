"""Whatever the columns and the file are called, what `trimtab init` writes is a right document of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from trimtab.cli.init import write
from trimtab.errors import Refused
from trimtab.spec.read import load

DAYS = [f"2024-01-{day:02d}" for day in range(1, 29)]


@pytest.mark.parametrize(
    "label",
    ["on", "null", "1", "-", "~", "a: b", "it's", '"q"', "x\ny", "x\x1by", "#h", "ü", "{a}", "a\tb", "\\", "*s", "<<"],
)
def test_any_column_can_be_the_label(tmp_path: Path, label: str) -> None:
    frame = pd.DataFrame({"at": DAYS, label: ["a", "b"] * 14, "z": ["c", "d"] * 14})
    frame.to_csv(tmp_path / "data.csv", index=False)
    write(None, label, None, None, tmp_path)
    assert load(tmp_path / "loop.yaml").spec.data.label.column == label


@pytest.mark.parametrize("name", ["my: data #1.csv", "on.csv", "ünï.csv", "a'b.csv", "x" * 62 + "-y.csv"])
def test_any_file_can_be_the_source(tmp_path: Path, name: str) -> None:
    pd.DataFrame({"at": DAYS, "y": ["a", "b"] * 14}).to_csv(tmp_path / name, index=False)
    write(None, None, None, None, tmp_path)
    assert load(tmp_path / "loop.yaml").spec.data.source.path == name


def test_the_time_cannot_be_the_label(tmp_path: Path) -> None:
    pd.DataFrame({"at": DAYS, "y": ["a", "b"] * 14}).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(Refused, match="--label or --time"):
        write(None, "at", "at", None, tmp_path)
    assert not (tmp_path / "loop.yaml").exists()
