"""What can be wrong with a column of text."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from trimtab.stages.anomaly import EXAMPLES, Anomaly, counted, of_rows
from trimtab.stages.contract import ColumnRule

_MARKS = frozenset(
    {"na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "#n/a", "missing", "unknown", "<na>"}
)


def check_domain(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    """Values outside the domain: an error when a person stated it, else news; labels of any type count as text."""
    if rule.domain is None:
        return
    series = frame[rule.name].map(str, na_action="ignore")
    known = set(rule.domain)
    unseen = [str(value) for value in series.value_counts().index if value not in known]
    if unseen:
        stated = "domain" in rule.stated
        shown = ", ".join(repr(value[:40]) for value in unseen[:EXAMPLES])
        outside = series.isin(unseen).to_numpy()
        whose = "the contract does not allow" if stated else "the reference rows never held"
        text = (
            f"column {rule.name!r}: {counted(outside)} ({outside.mean():.1%}) hold what {whose}: "
            f"{shown}{_alike(unseen, known)}."
        )
        yield of_rows(frame, rule.name, "domain", "error" if stated else "warning", outside, text)


def check_marks(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    """Text that usually stands for "no value" but was read as one, unless the stated domain has it."""
    series = frame[rule.name]
    values = [str(value) for value in series.dropna().unique()]
    marks = sorted(value for value in values if value.strip().lower() in _MARKS or not value.strip())
    marks = [value for value in marks if "domain" not in rule.stated or value not in (rule.domain or ())]
    if marks and len(values) > len(marks):
        marked = series.isin(marks).to_numpy()
        shown = ", ".join(repr(value) for value in marks)
        text = (
            f"column {rule.name!r}: {counted(marked)} hold {shown}, which looks like a missing mark. Add it to "
            "`data.source.missing`, or state it in the column's `domain` if it is a value."
        )
        yield of_rows(frame, rule.name, "missing_mark", "warning", marked, text)


def _alike(unseen: list[str], known: set[str]) -> str:
    folded = {value.strip().lower(): value for value in known}
    for value in unseen:
        twin = folded.get(value.strip().lower())
        if twin is not None:
            return f" ({value!r} differs from {twin!r} only in case or spaces)"
    return ""
