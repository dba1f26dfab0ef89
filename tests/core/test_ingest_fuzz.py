"""Any bytes at all are either read or refused in words; what is read is what was written."""

from __future__ import annotations

import csv
import decimal
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tabular import data

from trimtab.errors import DataRefused
from trimtab.stages import ingest

PIECES = st.sampled_from(
    [
        b",",
        b'"',
        b"\n",
        b"\r\n",
        b"\r",
        b"a",
        b"1",
        b"2024-01-01",
        b"\xff",
        b"\x00",
        b" ",
        b"t",
        b"y",
        b"\xef\xbb\xbf",
        b"\xc3\xa9",
        b"''",
    ]
)


def read(content: bytes, **changes: Any) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "rows.csv").write_bytes(content)
        return ingest.read(data(**changes), Path(name), as_of=None)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.booleans())
@example(b'2024-01-01,a,"', True)
@example(b'2024-01-01,"a"b,c"d\n', True)
@example(b"\x1f\x8b\x08", False)
def test_any_bytes_are_read_or_refused(content: bytes, with_header: bool) -> None:
    frame, words = None, ""
    try:
        frame = read((b"t,y,x\n" if with_header else b"") + content)
    except DataRefused as refused:
        words = str(refused)
    if frame is None:
        assert words.strip().endswith((".", "x"))
        assert len(words) < 2000
    else:
        assert len(frame) > 0
        assert frame["_time"].notna().all()


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_text_cells_come_back_as_they_were_written(cells: list[tuple[str, str]], end: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)  # else 3.11 leaves a lone \r bare
    writer.writerow(["t", "y", "p", "q"])
    writer.writerows([("2024-01-01", "a", *pair) for pair in cells])
    changes = {"source": {"missing": []}, "contract": {"p": {"type": "string"}, "q": {"type": "string"}}}
    frame = read(out.getvalue().encode(), **changes)
    assert list(zip(frame["p"], frame["q"], strict=True)) == cells


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-1e299, 1e299), min_size=1, max_size=8))
def test_numbers_come_back_to_the_last_bit(numbers: list[float]) -> None:
    rows = "".join(f"2024-01-01,a,{number!r}\n" for number in numbers)
    frame = read(f"t,y,x\n{rows}".encode())
    assert frame["x"].astype(float).tolist() == numbers


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array([1, 2], pa.int8()), "i", [1, 2]),
        (pa.array([1, None], pa.uint16()), "f", [1.0, np.nan]),
        (pa.array([2**60, 1], pa.int64()), "O", [str(2**60), "1"]),
        (pa.array([2**64 - 1, 1], pa.uint64()), "O", [str(2**64 - 1), "1"]),
        (pa.array([0.1, None], pa.float32()), "f", [float(np.float32(0.1)), np.nan]),
        (pa.array([decimal.Decimal("1.25"), None]), "f", [1.25, np.nan]),
        (pa.array(["p", None]).dictionary_encode(), "O", ["p", None]),
        (pa.array(["7", "07"], pa.large_string()), "O", ["7", "07"]),
        (pa.array([True, None]), "O", [True, None]),
        (pa.nulls(2), "O", [None, None]),
        (pa.array([0, 86_400_000_000], pa.timestamp("us")), "O", ["1970-01-01T00:00:00", "1970-01-02T00:00:00"]),
    ],
)
def test_parquet_types(tmp_path: Path, column: pa.Array, kind: str, expected: list[Any]) -> None:
    pq.write_table(
        pa.table({"t": ["2024-01-01", "2024-01-02"], "y": ["a", "b"], "x": column}), tmp_path / "rows.parquet"
    )
    values = ingest.read(data(source={"path": "rows.parquet"}), tmp_path, as_of=None)["x"]
    assert values.dtype.kind == kind
    pd.testing.assert_series_equal(values, pd.Series(expected, name="x", dtype=values.dtype))


@pytest.mark.parametrize(
    "times",
    [
        pa.array([0, 3_600_000], pa.timestamp("ms", "Europe/Paris")),
        pa.array([0, 3_600_000_000_000], pa.timestamp("ns")),
        pa.array(["1970-01-01T00:00:00Z", "1970-01-01T02:00:00+01:00"]),
    ],
)
def test_parquet_times_are_utc(tmp_path: Path, times: pa.Array) -> None:
    pq.write_table(pa.table({"t": times, "y": ["a", "b"], "x": [1, 2]}), tmp_path / "rows.parquet")
    frame = ingest.read(data(source={"path": "rows.parquet"}), tmp_path, as_of=None)
    assert frame["_time"].tolist() == [pd.Timestamp(0, tz="UTC"), pd.Timestamp(3600, unit="s", tz="UTC")]


def test_parquet_ids_are_the_same_whether_whole_or_float(tmp_path: Path) -> None:
    for ids in ([1, 2], [1.0, 2.0], ["1", "2"]):
        pd.DataFrame({"i": ids, "t": "2024-01-01", "y": ["a", "b"], "x": 1}).to_parquet(tmp_path / "rows.parquet")
        frame = ingest.read(data(source={"path": "rows.parquet"}, id="i"), tmp_path, as_of=None)
        assert frame["_id"].tolist() == ["1", "2"]
