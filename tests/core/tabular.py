"""Small tables for the tests of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from trimtab.spec.data import Data
from trimtab.stages import ingest

RODENTS = Path(__file__).parents[2] / "examples" / "desert-rodents"


def data(**changes: Any) -> Data:
    """A small `data` section: columns t, y and whatever the test writes."""
    source = {"path": "rows.csv", **changes.pop("source", {})}
    if "query" in source:
        source.pop("path")
    plain = {"time": {"column": "t"}, "label": {"column": "y"}, **changes}
    return Data.model_validate({"source": source, **plain})


def read_text(folder: Path, text: str | bytes, **changes: Any) -> pd.DataFrame:
    content = text.encode() if isinstance(text, str) else text
    (folder / "rows.csv").write_bytes(content)
    return ingest.read(data(**changes), folder, as_of=None)
