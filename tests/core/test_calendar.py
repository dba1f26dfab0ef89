"""Periods of a replay cover the time given, without gap or overlap."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.errors import Refused
from trimtab.loop.calendar import parse_day, periods

_DAYS = st.datetimes(datetime(1970, 1, 1), datetime(2050, 1, 1)).map(
    lambda day: day.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
)


@given(since=_DAYS, length=st.integers(1, 3000), days=st.integers(0, 400))
def test_periods_cover_the_stretch_without_gap_or_overlap(since: datetime, length: int, days: int) -> None:
    until = since + timedelta(days=length)
    found = list(periods(since, until, days))
    assert found[0][0] == since
    assert found[-1][1] == until
    assert all(start < end for start, end in found)
    assert all(one[1] == other[0] for one, other in pairwise(found))


def test_months_begin_on_their_first_day() -> None:
    found = list(periods(datetime(1984, 11, 15, tzinfo=UTC), datetime(1985, 2, 10, tzinfo=UTC), 0))
    assert [start.strftime("%Y-%m-%d") for start, _ in found] == [
        "1984-11-15",
        "1984-12-01",
        "1985-01-01",
        "1985-02-01",
    ]


def test_a_month_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="--from '1985-13': expected a month"):
        parse_day("1985-13", "--from")
