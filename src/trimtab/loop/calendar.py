"""Cutting a stretch of virtual time into the periods of a replay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from trimtab.errors import Refused


def parse_day(text: str, option: str) -> datetime:
    """Read `1985-01` or `1985-01-31` as midnight UTC; raises Refused naming the option."""
    for form in ("%Y-%m-%d", "%Y-%m"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    raise Refused(f"{option} {text!r}: expected a month or a day such as 1985-01 or 1985-01-31")


def periods(since: datetime, until: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
    """Half-open stretches that cover [since, until): calendar months, or `days` days each; the last may be shorter."""
    start = since
    while start < until:
        end = _next_month(start) if days == 0 else start + timedelta(days=days)
        yield start, min(end, until)
        start = end


def _next_month(day: datetime) -> datetime:
    return datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
