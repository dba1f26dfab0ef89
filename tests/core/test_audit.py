"""The audit of a replay: a row that was learnt from before its label was known is counted, whoever let it through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd

from trimtab.loop.audit import Learnt, early_rows, known_since

T0 = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FRAME = pd.DataFrame(
    {"_id": ["a", "b", "c"], "_time": pd.to_datetime([T0, T0 + DAY, T0 + 5 * DAY], utc=True), "genus": ["x", "y", "x"]}
)


def _early(as_of: datetime, *ids: str, arrived: dict[str, datetime] | None = None) -> int:
    return early_rows([Learnt("training-1", as_of, ids)], known_since(FRAME, 2 * DAY, arrived or {}))


def test_rows_of_the_source_are_known_after_their_delay() -> None:
    assert _early(T0 + 3 * DAY, "a", "b") == 0
    assert _early(T0 + 3 * DAY - timedelta(seconds=1), "a", "b") == 1
    assert _early(T0 + 3 * DAY, "a", "b", "c") == 1
    assert _early(T0, "a", "b", "c") == 3


def test_rows_of_feedback_are_known_when_their_label_came() -> None:
    arrived = {"f": T0 + 4 * DAY, "c": T0}  # a label that is said to have come before the source had it does not count
    assert _early(T0 + 4 * DAY, "a", "f", arrived=arrived) == 0
    assert _early(T0 + 3 * DAY, "a", "f", arrived=arrived) == 1
    assert _early(T0 + 3 * DAY, "c", arrived=arrived) == 1


def test_a_row_that_nobody_knows_counts() -> None:
    assert _early(T0 + 30 * DAY, "a", "nobody") == 1


def test_every_run_is_looked_at() -> None:
    runs = [Learnt("training-1", T0, ["a"]), Learnt("training-2", T0, ["b"]), Learnt("training-3", T0 + 9 * DAY, ["c"])]
    assert early_rows(runs, known_since(FRAME, 2 * DAY, {})) == 2
