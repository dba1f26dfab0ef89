"""The columns of the two logs."""

from __future__ import annotations

import pyarrow as pa

TIME = pa.timestamp("us", "UTC")

PREDICTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("time", TIME),
        ("version", pa.string()),
        ("shadow", pa.bool_()),
        ("attempt", pa.int32()),
        ("protocol", pa.string()),
        ("features", pa.string()),
        ("prediction", pa.string()),
        ("scores", pa.list_(pa.float64())),
        ("latency_ms", pa.float64()),
    ]
)

LABELS = pa.schema([("id", pa.string()), ("label", pa.string()), ("time", TIME), ("source", pa.string())])
