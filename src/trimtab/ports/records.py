"""Appending records that must not be lost, and reading them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class RecordWriter(Protocol):
    """Takes records from the process that made them."""

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Make the records safe against the death of any process before returning; raises StorageFull if it cannot."""
        ...

    def close(self) -> None:
        """Seal what was written."""
        ...


class RecordReader(Protocol):
    """Reads what writers appended."""

    def read(self, since: datetime, until: datetime) -> pa.Table:
        """Records whose `time` is in [since, until), each once, whether already in Parquet or not yet."""
        ...
