"""Nothing from the future leaks: reading as of a time is reading a source that ends at that time."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tabular import RODENTS, data

from trimtab.errors import DataRefused
from trimtab.spec.data import Data
from trimtab.stages import ingest

START = datetime(2024, 1, 1, tzinfo=UTC)
CELLS = st.sampled_from(["", "0", "1", "2.5", "-3", "007", "oak", "true", "1e3", "9007199254740993"])


@st.composite
def sources(draw: st.DrawFn) -> list[tuple[int, int, str, str]]:
    """Rows (id, day, label, cell) with unique ids, in any order of time."""
    days = draw(st.lists(st.integers(0, 20), min_size=3, max_size=12))
    return [(i, day, draw(st.sampled_from(["a", "b", "1", ""])), draw(CELLS)) for i, day in enumerate(days)]


def write(folder: Path, rows: list[tuple[int, int, str, str]]) -> None:
    lines = [f"{i},{START + timedelta(days=day):%Y-%m-%d},{label},{cell}" for i, day, label, cell in rows]
    (folder / "rows.csv").write_text("\n".join(["id,t,y,x", *lines]) + "\n")


def outcome(section: Data, folder: Path, as_of: datetime, window: timedelta | None) -> pd.DataFrame | None:
    """What is read, or None when it is refused (mixed types, nothing visible)."""
    try:
        return ingest.read(section, folder, as_of=as_of, window=window)
    except DataRefused:
        return None


@settings(max_examples=150, deadline=None)
@given(
    rows=sources(),
    as_of=st.integers(3, 22),
    delay=st.integers(0, 4),
    window=st.none() | st.integers(1, 20),
    seed=st.randoms(),
)
def test_as_of_equals_a_source_that_ends_there(
    rows: list[tuple[int, int, str, str]], as_of: int, delay: int, window: int | None, seed: object
) -> None:
    moment = START + timedelta(days=as_of)
    section = data(id="id", label={"column": "y", "delay": f"{delay}d"})
    known = [row for row in rows if row[1] + delay <= as_of]
    past = [row for row in known if window is None or row[1] >= as_of - window]
    if known and not past and window is not None:  # the data ended longer ago
        past = [row for row in known if row[1] >= max(row[1] for row in known) - window]
    span = None if window is None else timedelta(days=window)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        whole = outcome(section, folder, moment, span)
        if not past:
            assert whole is None
            return
        write(folder, past)
        cut = outcome(section, folder, moment, span)
    assert (whole is None) == (cut is None)
    if whole is not None and cut is not None:
        pd.testing.assert_frame_equal(whole, cut)
        assert whole["_time"].max() + timedelta(days=delay) <= moment
        assert whole.attrs == cut.attrs


def test_data_that_ended_long_ago_is_taken_as_it_ended(tmp_path: Path) -> None:
    write(tmp_path, [(number, 7 * number, "ab"[number % 2], "1") for number in range(10)])
    section = data(id="id")
    years_later = START + timedelta(days=2000)
    frame = ingest.read(section, tmp_path, as_of=years_later, window=timedelta(days=21))
    assert frame["_id"].tolist() == ["6", "7", "8", "9"]
    with pytest.raises(DataRefused, match="no row's label is known at"):
        ingest.read(section, tmp_path, as_of=START - timedelta(days=1), window=timedelta(days=21))


@settings(max_examples=100, deadline=None)
@given(rows=sources(), order=st.randoms(use_true_random=False))
def test_types_and_values_do_not_depend_on_the_order_of_rows(
    rows: list[tuple[int, int, str, str]], order: object
) -> None:
    section = data(id="id")
    far = START + timedelta(days=99)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, rows)
        before = outcome(section, folder, far, None)
        shuffled = list(rows)
        order.shuffle(shuffled)  # type: ignore[attr-defined]
        write(folder, shuffled)
        after = outcome(section, folder, far, None)
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        keys = ["_time", "_id"]
        pd.testing.assert_frame_equal(
            before.sort_values(keys, ignore_index=True), after.sort_values(keys, ignore_index=True)
        )


@pytest.mark.parametrize("year", [1979, 1985, 1997])
def test_the_field_station_knows_a_capture_after_thirty_days(year: int) -> None:
    section = Data.model_validate(
        {
            "source": {"path": "captures.csv.gz"},
            "id": "record_id",
            "time": {"year": "year", "month": "month", "day": "day"},
            "label": {"column": "genus", "delay": "30d"},
        }
    )
    as_of = datetime(year, 1, 1, tzinfo=UTC)
    frame = ingest.read(section, RODENTS, as_of=as_of, window=timedelta(days=4 * 365))
    everything = ingest.read_all(section, RODENTS)
    times = everything["_time"]
    expected = everything[(times <= as_of - timedelta(days=30)) & (times >= as_of - timedelta(days=4 * 365))]
    assert frame["_id"].tolist() == expected["_id"].tolist()
    assert 0 < len(frame) < len(everything)
