"""A log in memory: for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa


class MemoryRecords:
    """Writer and reader of one log."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._records: list[dict[str, Any]] = []

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep the records; `time` is ISO 8601 text."""
        self._records += [{**record, "time": datetime.fromisoformat(record["time"])} for record in records]

    def close(self) -> None:
        """Nothing to seal."""

    def read(self, since: datetime, until: datetime) -> pa.Table:
        """Records with `time` in [since, until)."""
        chosen = [record for record in self._records if since <= record["time"] < until]
        return pa.Table.from_pylist(chosen, schema=self._schema)
