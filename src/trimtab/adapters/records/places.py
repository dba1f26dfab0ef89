"""Which reader a log's place gets: a folder, a folder that is shipped to a store, or a store."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from trimtab.adapters.records.bucket import RecordBucket, SpooledLog
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.ports.records import RecordReader
from trimtab.stages.objects import is_remote

STORE = "TRIMTAB_RECORD_STORE"  # s3://bucket/prefix of one loop's logs, as its collector has it


def record_log(where: Path | str, schema: pa.Schema, store: str | None = None) -> RecordReader:
    """The log at a folder or an s3:// URI; with a `store` a folder's log goes on in a folder of that name there.

    `store` is what TRIMTAB_RECORD_STORE says where it is not given. Raises Refused for a URI that is none.
    """
    if is_remote(str(where)):
        return RecordBucket(str(where), schema)
    folder = Path(where)
    store = os.environ.get(STORE, "") if store is None else store
    if store:
        return SpooledLog(folder, schema, f"{store.rstrip('/')}/{folder.name}")
    return RecordFolder(folder, schema)
