"""Whether anything in a replay rested on a label before its time: checked against the source, not against the loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from trimtab.ports.turns import Turn


@dataclass(frozen=True)
class Learnt:
    """Ids of the rows that one run trained on and judged its version on, as known at `as_of`."""

    run: str
    as_of: datetime
    ids: Sequence[str]


def known_since(frame: pd.DataFrame, delay: timedelta, arrived: Mapping[str, datetime]) -> Mapping[str, datetime]:
    """When each label became known: of the source's rows (`_id`, `_time`) after the delay, of others on arrival."""
    known = dict(arrived)
    known.update(zip(frame["_id"].astype(str), frame["_time"] + delay, strict=True))
    return known


def early_rows(learnt: Iterable[Learnt], known: Mapping[str, datetime]) -> int:
    """Rows whose label was not known yet when a version learnt from it or was judged on it; unknown ones among them."""
    early = 0
    for one in learnt:
        times = (known.get(id_) for id_ in one.ids)
        early += sum(time is None or time > one.as_of for time in times)
    return early


def early_decisions(turns: Iterable[Turn]) -> int:
    """Decisions that say of themselves that they rest on a label that became known after they were made."""
    found = 0
    for turn in turns:
        for decision in turn.decisions:
            until = decision.get("labels_until")
            found += until is not None and datetime.fromisoformat(str(until)) > turn.time
    return found
