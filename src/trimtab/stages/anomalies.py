"""What is wrong with new rows, as a list that a person can read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from trimtab.stages.contract import NUMERIC, ColumnRule, Contract
from trimtab.stages.units import scale_change

Severity = Literal["error", "warning"]

_MARKS = frozenset(
    {"na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", ".", "#n/a", "missing", "unknown", "<na>"}
)
_SENTINELS = (-1.0, 0.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
_EXAMPLES = 5


@dataclass(frozen=True)
class Anomaly:
    """One broken rule of one column: over how many rows, with examples, and a sentence that says what to do."""

    column: str
    rule: str
    severity: Severity
    count: int
    share: float
    rows: tuple[str, ...]
    values: tuple[str, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "rows": list(self.rows), "values": list(self.values)}


def check(frame: pd.DataFrame, contract: Contract) -> tuple[Anomaly, ...]:
    """What in `frame` (as ingest gives it) breaks the contract, errors first, then in the order of the columns.

    Errors: columns that are gone, wrong types, infinities, everything that a person stated, one class only, repeated ids,
    a change of unit by ten or more. Warnings: what differs from the reference rows, and what looks like a missing mark.
    """
    found: list[Anomaly] = []
    for rule in contract.columns:
        if rule.name not in frame:
            if rule.role in ("feature", "label"):
                close = difflib.get_close_matches(rule.name, list(frame.columns), n=1)
                hint = f"; nearest is {close[0]!r}" if close else ""
                found.append(_whole(rule.name, "column", "error", len(frame), f"column {rule.name!r} is gone{hint}."))
        elif len(frame):
            found.extend(_column(frame, rule, contract))
    for name in frame.columns:
        if not str(name).startswith("_") and name not in contract.by_name:
            text = f"column {name!r} is new; no model uses it until it is trained again."
            found.append(_whole(str(name), "column", "warning", len(frame), text))
    if "_id" in frame and (doubled := frame["_id"].duplicated()).any():
        text = f"{int(doubled.sum())} ids come more than once; each row needs its own."
        found.append(_rows(frame, "_id", "duplicate", "error", doubled.to_numpy(), text))
    return tuple(sorted(found, key=lambda anomaly: anomaly.severity != "error"))


def _column(frame: pd.DataFrame, rule: ColumnRule, contract: Contract) -> Iterator[Anomaly]:
    series = frame[rule.name]
    yield from _missing(frame, rule)
    wrong = _wrong_type(series, rule)
    if wrong.any():
        text = f"column {rule.name!r} must be {rule.type}, but {_count(wrong)} are not."
        severity: Severity = "warning" if rule.type == "integer" and "type" not in rule.stated else "error"
        if severity == "error":
            yield _rows(frame, rule.name, "type", severity, wrong, text)
            return
        yield _rows(frame, rule.name, "type", severity, wrong, text.replace("must be", "was", 1))
    if rule.type in NUMERIC:
        yield from _numbers(frame, rule)
    elif rule.type == "string":
        yield from _text(frame, rule)
    if rule.role == "label" and contract.problem == "classification" and series.nunique() == 1:
        text = f"column {rule.name!r} holds one class only, {str(series.dropna().iloc[0])!r}."
        yield _whole(rule.name, "classes", "error", len(frame), text)
    if rule.role == "feature" and rule.constant and series.nunique() > 1:
        text = f"column {rule.name!r} had a single value in the reference rows and varies now."
        yield _whole(rule.name, "constant", "warning", len(frame), text)
    if rule.role == "feature" and not rule.constant and series.nunique() == 1 and len(series) >= 30:
        text = f"column {rule.name!r} varied in the reference rows and has a single value now, {series.dropna().iloc[0]!r}."
        yield _whole(rule.name, "constant", "warning", len(frame), text)


def _missing(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    missing = frame[rule.name].isna().to_numpy()
    share = float(missing.mean())
    if rule.max_missing_share is not None:
        if share > rule.max_missing_share:
            allowed = "none may be" if rule.max_missing_share == 0 else f"at most {rule.max_missing_share:.1%} may be"
            text = f"column {rule.name!r}: {_count(missing)} ({share:.1%}) are missing; the contract says {allowed}."
            yield _rows(frame, rule.name, "missing", "error", missing, text)
        return
    # three standard errors of the reference share, and one percent that nobody minds
    noise = 3 * float(np.sqrt(max(rule.missing_share * (1 - rule.missing_share), 1 / max(len(frame), 1)) / len(frame)))
    if rule.type != "empty" and share > rule.missing_share + noise + 0.01:
        text = f"column {rule.name!r}: {share:.1%} are missing, {rule.missing_share:.1%} were in the reference rows."
        yield _rows(frame, rule.name, "missing", "warning", missing, text)


def _wrong_type(series: pd.Series, rule: ColumnRule) -> np.ndarray:
    """Which values are not of the rule's type; missing ones never are wrong."""
    present = series.notna().to_numpy()
    kind = series.dtype.kind
    if rule.type == "empty":
        return np.zeros(len(series), dtype=bool)
    if rule.type in NUMERIC:
        if kind not in "iuf":
            good = series.map(lambda value: isinstance(value, int | float | np.number) and not isinstance(value, bool))
            return present & ~good.to_numpy(dtype=bool)
        if rule.type == "integer" and kind == "f":
            values = series.to_numpy()
            return present & np.isfinite(values) & (values != np.floor(values))
        return np.zeros(len(series), dtype=bool)
    if rule.type == "boolean":
        return present & ~np.array([isinstance(value, bool | np.bool_) for value in series], dtype=bool)
    if kind != "O":
        return present
    return present & ~np.array([isinstance(value, str) for value in series], dtype=bool)


def _numbers(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    values = pd.to_numeric(frame[rule.name], errors="coerce").to_numpy(dtype=np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        text = f"column {rule.name!r}: {_count(infinite)} are infinite; write a missing value instead."
        yield _rows(frame, rule.name, "finite", "error", infinite, text)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return
    change = scale_change(rule, finite)
    if change is not None:
        sentence, severe = change
        yield _whole(rule.name, "unit", "error" if severe else "warning", len(frame), sentence)
    yield from _range(frame, rule, values, quiet=change is not None)
    yield from _sentinel(frame, rule, values, finite)
    written = frame.attrs.get("zeros_written", {}).get(rule.name, {})
    if len(written) > 1:
        ways = ", ".join(f"{text!r} {count} times" for text, count in sorted(written.items()))
        text = f"column {rule.name!r} writes zero in more than one way ({ways}); one of them may mark a missing value."
        yield _rows(frame, rule.name, "missing_mark", "warning", values == 0, text)


def _range(frame: pd.DataFrame, rule: ColumnRule, values: np.ndarray, quiet: bool) -> Iterator[Anomaly]:
    """Stated bounds are errors; beyond an inferred bound by a tenth of its spread is a warning."""
    unit = f" {rule.unit}" if rule.unit else ""
    spread = 0.1 * ((rule.maximum or 0.0) - (rule.minimum or 0.0))
    bounds = (("min", rule.minimum, -1), ("max", rule.maximum, 1))
    for name, bound, side in bounds:
        if bound is None:
            continue
        stated = name in rule.stated
        if not stated and quiet:
            continue
        beyond = (values - bound) * side > (0 if stated else spread)
        if beyond.any():
            farthest = values[beyond].max() if side > 0 else values[beyond].min()
            whose = "the contract says" if stated else "the reference rows went"
            word = "at most" if side > 0 else "at least"
            text = (
                f"column {rule.name!r}: {_count(beyond)} are {'above' if side > 0 else 'below'} {bound:g}{unit} "
                f"({whose} {word if stated else ('up' if side > 0 else 'down') + ' to'} that); the farthest is {farthest:g}."
            )
            yield _rows(frame, rule.name, "range", "error" if stated else "warning", beyond, text)


def _sentinel(frame: pd.DataFrame, rule: ColumnRule, values: np.ndarray, finite: np.ndarray) -> Iterator[Anomaly]:
    """One repeated value far from all others, such as -999 or 0: a missing mark that was read as a number (Tukey's far-out)."""
    if rule.role == "label" or finite.size < 20 or np.unique(finite).size < 6:  # few values are codes
        return
    for mark in _SENTINELS:
        same = values == mark
        times = int(same.sum())
        if times < 2 or times > finite.size // 2:
            continue
        others = finite[finite != mark]
        low, high = np.quantile(others, [0.25, 0.75])
        far = max(3 * (high - low), 1e-9)
        edge = others.min() > mark or others.max() < mark
        if edge and (
            mark < low - far or mark > high + far or (mark == 0 and others.min() > 0 and low - 0 > (high - low))
        ):
            text = (
                f"column {rule.name!r}: {_count(same)} are {mark:g}, apart from all others ({others.min():g} to "
                f"{others.max():g}). If that marks a missing value, add '{mark:g}' to `data.source.missing`."
            )
            yield _rows(frame, rule.name, "missing_mark", "warning", same, text)


def _text(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    series = frame[rule.name]
    counts = series.value_counts()
    values = [str(value) for value in counts.index]
    if rule.domain is not None:
        known = set(rule.domain)
        unseen = [value for value in values if value not in known]
        if unseen:
            stated = "domain" in rule.stated
            shown = ", ".join(repr(value[:40]) for value in unseen[:_EXAMPLES])
            outside = series.isin(unseen).to_numpy()
            whose = "the contract does not allow" if stated else "the reference rows never held"
            text = f"column {rule.name!r}: {_count(outside)} ({outside.mean():.1%}) hold what {whose}: {shown}{_alike(unseen, known)}."
            yield _rows(frame, rule.name, "domain", "error" if stated else "warning", outside, text)
    marks = [value for value in values if value.strip().lower() in _MARKS or not value.strip()]
    marks = [value for value in marks if value not in (rule.domain or ()) or "domain" not in rule.stated]
    if marks and len(values) > len(marks):
        marked = series.isin(marks).to_numpy()
        shown = ", ".join(repr(value) for value in marks)
        text = (
            f"column {rule.name!r}: {_count(marked)} hold {shown}, which looks like a missing mark. Add it to "
            "`data.source.missing`, or state it in the column's `domain` if it is a value."
        )
        yield _rows(frame, rule.name, "missing_mark", "warning", marked, text)


def _alike(unseen: list[str], known: set[str]) -> str:
    folded = {value.strip().lower(): value for value in known}
    for value in unseen:
        twin = folded.get(value.strip().lower())
        if twin is not None:
            return f" ({value!r} differs from {twin!r} only in case or spaces)"
    return ""


def _count(mask: np.ndarray) -> str:
    number = int(mask.sum())
    return f"{number} row" if number == 1 else f"{number} rows"


def _rows(frame: pd.DataFrame, column: str, rule: str, severity: Severity, mask: np.ndarray, sentence: str) -> Anomaly:
    chosen = np.flatnonzero(mask)[:_EXAMPLES]
    ids = frame["_id"] if "_id" in frame else pd.Series([f"row-{n}" for n in range(len(frame))], index=frame.index)
    count = int(mask.sum())
    return Anomaly(
        column=column,
        rule=rule,
        severity=severity,
        count=count,
        share=count / max(len(frame), 1),
        rows=tuple(str(ids.iloc[i]) for i in chosen),
        values=tuple(str(frame[column].iloc[i])[:80] for i in chosen),
        sentence=sentence,
    )


def _whole(column: str, rule: str, severity: Severity, rows: int, sentence: str) -> Anomaly:
    return Anomaly(column, rule, severity, rows, 1.0, (), (), sentence)
