"""One thing that is wrong with data, in words and in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Severity = Literal["error", "warning", "info"]
EXAMPLES = 5
"""Rows that an anomaly names."""


@dataclass(frozen=True)
class Anomaly:
    """One broken rule of one column: over how many rows, with examples, and a sentence that says what to do."""

    column: str
    rule: str
    severity: Severity
    count: int
    share: float
    rows: tuple[str, ...]
    values: tuple[str, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "rows": list(self.rows), "values": list(self.values)}


def counted(mask: np.ndarray) -> str:
    number = int(mask.sum())
    return f"{number} row" if number == 1 else f"{number} rows"


def of_rows(
    frame: pd.DataFrame, column: str, rule: str, severity: Severity, mask: np.ndarray, sentence: str
) -> Anomaly:
    """The anomaly of the rows in `mask` (n,), with the first few as examples."""
    chosen = np.flatnonzero(mask)[:EXAMPLES]
    ids = frame["_id"] if "_id" in frame else pd.Series([f"row-{n}" for n in range(len(frame))], index=frame.index)
    count = int(mask.sum())
    return Anomaly(
        column=column,
        rule=rule,
        severity=severity,
        count=count,
        share=count / max(len(frame), 1),
        rows=tuple(str(ids.iloc[i]) for i in chosen),
        values=tuple(str(frame[column].iloc[i])[:80] for i in chosen),
        sentence=sentence,
    )


def of_column(column: str, rule: str, severity: Severity, rows: int, sentence: str) -> Anomaly:
    return Anomaly(column, rule, severity, rows, 1.0, (), (), sentence)
