"""What is wrong with new rows, as a list that a person can read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from types import UnionType

import numpy as np
import pandas as pd

from trimtab.stages.anomaly import Anomaly, Severity, counted, of_column, of_rows
from trimtab.stages.contract import NUMERIC, ColumnRule, Contract
from trimtab.stages.number_rules import check_numbers
from trimtab.stages.text_rules import check_domain, check_dressed, check_marks, check_unlabelled, dropped_rows

_ORDER: tuple[Severity, ...] = ("error", "warning", "info")


def check(frame: pd.DataFrame, contract: Contract) -> tuple[Anomaly, ...]:
    """What in `frame` (as ingest gives it) breaks the contract, errors first, then in the order of the columns.

    Errors: columns that are gone, wrong types, infinities, everything that a person stated, one class only, repeated
    ids, a change of unit by ten or more. Warnings: what differs from the reference rows, and what looks like a missing
    mark. Infos: what a person may want to know, such as rows without a label.
    """
    found: list[Anomaly] = []
    for rule in contract.columns:
        if rule.name not in frame:
            if rule.role in ("feature", "label"):
                close = difflib.get_close_matches(rule.name, list(frame.columns), n=1)
                hint = f"; nearest is {close[0]!r}" if close else ""
                found.append(
                    of_column(rule.name, "column", "error", len(frame), f"column {rule.name!r} is gone{hint}.")
                )
        elif rule.role == "identifier":
            text = (
                f"column {rule.name!r} holds another text in every row, so no model uses it. "
                "Name it in `data.id` or `data.ignore`, or in `features.include` to use it."
            )
            found.append(of_column(rule.name, "identifier", "warning", len(frame), text))
            found.extend(check_dressed(frame, rule))
        elif len(frame):
            # of a column that no model reads, only what a person stated is of interest
            read = rule.role in ("feature", "label")
            found.extend(a for a in _column(frame, rule, contract) if read or (rule.stated and a.severity == "error"))
    for name in frame.columns:
        if not str(name).startswith("_") and name not in contract.by_name:
            text = f"column {name!r} is new; no model uses it until it is trained again."
            found.append(of_column(str(name), "column", "warning", len(frame), text))
    if "_id" in frame and (doubled := frame["_id"].duplicated()).any():
        text = f"{int(doubled.sum())} ids come more than once; each row needs its own."
        found.append(of_rows(frame, "_id", "duplicate", "error", doubled.to_numpy(), text))
    return tuple(sorted(found, key=lambda anomaly: _ORDER.index(anomaly.severity)))


def _column(frame: pd.DataFrame, rule: ColumnRule, contract: Contract) -> Iterator[Anomaly]:
    series = frame[rule.name]
    yield from _missing(frame, rule)
    if rule.role == "label":
        yield from check_unlabelled(frame, rule)
    wrong = _wrong_type(series, rule)
    if wrong.any():
        text = f"column {rule.name!r} must be {rule.type}, but {counted(wrong)} are not."
        severity: Severity = "warning" if rule.type == "integer" and "type" not in rule.stated else "error"
        if severity == "error":
            yield of_rows(frame, rule.name, "type", severity, wrong, text)
            return
        yield of_rows(frame, rule.name, "type", severity, wrong, text.replace("must be", "was", 1))
    if rule.role == "label" and contract.problem == "classification":
        yield from check_domain(frame, rule)
        if series.nunique() == 1:
            left_out = dropped_rows(frame, rule.name)
            text = f"column {rule.name!r} holds one class only, {str(series.dropna().iloc[0])!r}."
            text += f" {left_out}." if left_out else ""
            yield of_column(rule.name, "classes", "error", len(frame), text)
    elif rule.type in NUMERIC:
        yield from check_numbers(frame, rule)
    elif rule.type == "string":
        yield from check_domain(frame, rule)
        yield from check_marks(frame, rule)
        yield from check_dressed(frame, rule)
    if rule.role == "feature" and rule.constant and series.nunique() > 1:
        text = f"column {rule.name!r} had a single value in the reference rows and varies now."
        yield of_column(rule.name, "constant", "warning", len(frame), text)
    if rule.role == "feature" and rule.constant and series.nunique() == 1 and len(series) > 1:
        text = f"column {rule.name!r} has a single value, {series.dropna().iloc[0]!r}: a model learns nothing from it."
        yield of_column(rule.name, "constant", "info", len(frame), text)
    if rule.role == "feature" and not rule.constant and series.nunique() == 1 and len(series) >= 30:
        only = series.dropna().iloc[0]
        text = f"column {rule.name!r} varied in the reference rows and has a single value now, {only!r}."
        yield of_column(rule.name, "constant", "warning", len(frame), text)


def _missing(frame: pd.DataFrame, rule: ColumnRule) -> Iterator[Anomaly]:
    missing = frame[rule.name].isna().to_numpy()
    share = float(missing.mean())
    if rule.max_missing_share is not None:
        if share > rule.max_missing_share:
            allowed = "none may be" if rule.max_missing_share == 0 else f"at most {rule.max_missing_share:.1%} may be"
            text = f"column {rule.name!r}: {counted(missing)} ({share:.1%}) are missing; the contract says {allowed}."
            yield of_rows(frame, rule.name, "missing", "error", missing, text)
        return
    # three standard errors of the reference share, and one percent that nobody minds
    noise = 3 * float(np.sqrt(max(rule.missing_share * (1 - rule.missing_share), 1 / max(len(frame), 1)) / len(frame)))
    if rule.type != "empty" and share > rule.missing_share + noise + 0.01:
        text = f"column {rule.name!r}: {share:.1%} are missing, {rule.missing_share:.1%} were in the reference rows."
        yield of_rows(frame, rule.name, "missing", "warning", missing, text)


def _wrong_type(series: pd.Series, rule: ColumnRule) -> np.ndarray:
    """Which values are not of the rule's type; missing ones never are wrong."""
    kind = series.dtype.kind
    right: np.ndarray = np.ones(len(series), dtype=bool)
    if rule.type == "boolean":
        right = _instances(series, bool | np.bool_)
    elif rule.type == "string":
        right = _instances(series, str)
    elif rule.type in NUMERIC and kind not in "iuf":
        right = _instances(series, int | float | np.number) & ~_instances(series, bool)
    elif rule.type == "integer" and kind == "f":
        values = series.to_numpy()
        right = ~np.isfinite(values) | (values == np.floor(values))
    return np.asarray(series.notna().to_numpy() & ~right)


def _instances(series: pd.Series, kind: type | UnionType) -> np.ndarray:
    return np.fromiter((isinstance(value, kind) for value in series), dtype=bool, count=len(series))
