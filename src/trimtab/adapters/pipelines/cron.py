"""When a recurring run starts, as Kubeflow Pipelines reads it: robfig/cron 1.2, whose first field is seconds.

That parser takes five fields too, and then the day of the week is what it misses: a crontab's `0 2 * * *` would run at
two minutes past every hour. So five fields are refused here.
"""

from __future__ import annotations

import re

from trimtab.errors import Refused

DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_EVERY = re.compile(r"@every ((\d+(\.\d+)?(h|m|s))+)")
_NEXT = "such as '0 0 2 * * *' (each day at 2:00) or '@every 12h'"


def checked(text: str) -> str:
    """The schedule with its fields parted by single spaces; raises Refused for what KFP would not take."""
    found = " ".join(text.split())
    if found.startswith("@"):
        if found in DESCRIPTORS or (_EVERY.fullmatch(found) and re.search(r"[1-9]", found)):
            return found
        known = ", ".join(DESCRIPTORS)
        raise Refused(f"--every {text!r}: expected one of {known}, or @every with a time such as @every 12h")
    fields = found.split()
    if len(fields) == 5:
        raise Refused(
            f"--every {text!r}: Kubeflow Pipelines wants six fields, seconds first, and would read these five as "
            f"something else. A crontab's line becomes: --every '0 {found}'"
        )
    if len(fields) != len(_FIELDS):
        raise Refused(
            f"--every {text!r}: expected six fields (second, minute, hour, day of month, month, day of week), found "
            f"{len(fields)}: {_NEXT}"
        )
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        if not all(_part(part, least, most, names) for part in field.split(",")):
            words = f" or {names[0]}-{names[-1]}" if names else ""
            raise Refused(
                f"--every {text!r}: the {name} is {field!r}, expected *, numbers from {least} to {most}{words}, "
                f"lists a,b, ranges a-b, steps */n: {_NEXT}"
            )
    return found


def _part(part: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    """One element of a list: *, a, a-b, each perhaps with /step."""
    span, slash, step = part.partition("/")
    if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
        return False
    if span in ("*", "?"):
        return True
    numbers = [_number(one, least, names) for one in span.split("-")]
    known = [one for one in numbers if one is not None]
    return len(known) == len(numbers) <= 2 and least <= known[0] <= known[-1] <= most


def _number(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if text.lower() in names:
        return names.index(text.lower()) + least
    return int(text) if text.isascii() and text.isdigit() else None
