"""What can be wrong with a column of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from trimtab.stages.anomaly import EXAMPLES, Anomaly, Severity, counted, of_rows
from trimtab.stages.contract import ColumnRule

_MARKS = frozenset(
    {"na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "#n/a", "missing", "unknown", "<na>"}
)

_SIGNS = r"[%‰$€£¥₹]"
_DRESSED = re.compile(rf"[-+]?{_SIGNS}? ?[-+]?(\d+|\d{{1,3}}([ ,.'’]\d{{3}})+)([.,]\d+)? ?({_SIGNS}|USD|EUR|GBP)?")
_PLAIN = re.compile(r"[-+]?\d+(\.\d+)?")
_SPACES = str.maketrans("\u00a0\u202f\u2009", "   ")
_MOSTLY = 0.9


def dressed_number(values: Iterable[str]) -> str:
    """The first of these values that is a number with a sign, unit or separators (`37.5%`, `$1,050`, `1 050`).

    "" unless nearly all of them are such numbers or plain ones.
    """
    stripped = [(value, value.strip().translate(_SPACES)) for value in values]
    dressed = [value for value, bare in stripped if _DRESSED.fullmatch(bare) and not _PLAIN.fullmatch(bare)]
    plain = sum(_PLAIN.fullmatch(bare) is not None for _, bare in stripped)
    return dressed[0] if dressed and len(dressed) + plain >= _MOSTLY * len(stripped) else ""


def check_dressed(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    """Numbers that cannot be read as such become categories, each a stranger to the next: a person should know."""
    if "domain" in rule.stated or "type" in rule.stated:
        return
    values = frame[rule.name].dropna()
    example = dressed_number(str(value) for value in values.unique())
    if example:
        text = (
            f"column {rule.name!r} holds numbers written like {example!r}, which are read as text: every one is a "
            "category of its own. Write plain numbers (37.5, 1050), or say `type: string` in `data.contract` if "
            "they are names."
        )
        yield of_rows(frame, rule.name, "number_as_text", "warning", frame[rule.name].notna().to_numpy(), text)


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


def marks_written(marks: Mapping[str, int]) -> str:
    """How missing values are written, in brackets; "" if nothing is known of that."""
    told = [f"{mark!r} {times} times" if mark else f"empty {times} times" for mark, times in sorted(marks.items())]
    return f" (written {', '.join(told)})" if told else ""


def dropped_rows(frame: pd.DataFrame, label: str) -> str:
    """A sentence on the rows that ingest left out as they have no label; "" if there are none."""
    rows, marks = frame.attrs.get("unlabelled", 0), frame.attrs.get("unlabelled_marks", {})
    if not rows:
        return ""
    text = f"{rows} {'row has' if rows == 1 else 'rows have'} no {label!r} and {'is' if rows == 1 else 'are'} left out"
    words = sorted(mark for mark in marks if mark.strip())
    hint = f"; if {words[0]!r} is a class, take it out of `data.source.missing`" if words else ""
    return f"{text}{marks_written(marks)}{hint}"


def check_unlabelled(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    """Rows without a label are expected; that a word of theirs was taken for a missing mark may not be."""
    sentence = dropped_rows(frame, rule.name)
    if sentence:
        rows = int(frame.attrs["unlabelled"])
        marks = frame.attrs.get("unlabelled_marks", {})
        severity: Severity = "warning" if any(mark.strip() for mark in marks) else "info"
        share = rows / (rows + len(frame))
        yield Anomaly(rule.name, "unlabelled", severity, rows, share, (), tuple(sorted(marks)), f"{sentence}.")


def _alike(unseen: list[str], known: set[str]) -> str:
    folded = {value.strip().lower(): value for value in known}
    for value in unseen:
        twin = folded.get(value.strip().lower())
        if twin is not None:
            return f" ({value!r} differs from {twin!r} only in case or spaces)"
    return ""
