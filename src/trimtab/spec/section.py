"""What every section of a loop.yaml has in common."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(s|m|h|d|w|y))+$"
LONGEST = timedelta(days=200 * 365)  # longer ones leave the range of the dates that rows are compared with
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


class Section(BaseModel):
    """A frozen part of the document; unknown keys are refused; keys are camelCase in YAML, snake_case in Python."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def parse_duration(value: object) -> timedelta:
    """Read `90d`, `1h30m` or `4y` (a year is 365 days), at most LONGEST; raises ValueError with the rule."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError("expected a duration such as 30s, 15m, 6h, 90d, 2w or 4y")
    parts = re.findall(r"([0-9.]+)(s|m|h|d|w|y)", value)
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if seconds > LONGEST.total_seconds():
        raise ValueError("expected a duration of at most 200y")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Write a duration exactly as `parse_duration` reads it, in the largest unit that divides it."""
    seconds, rest = divmod(value // timedelta(microseconds=1), 1_000_000)
    for unit in ("y", "w", "d", "h", "m"):
        if seconds and not rest and seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds // _UNIT_SECONDS[unit]}{unit}"
    return f"{seconds}.{rest:06d}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["6h", "90d", "4y"]}),
]
