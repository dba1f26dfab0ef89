"""Does data look as it must? Infer a contract from reference data, and list what breaks it in new data.

After the data validation of TFX (Breck et al., "Data Validation for Machine Learning", MLSys 2019): a schema inferred
once and owned by people, and anomalies that say what to do. What a person stated in `data.contract` wins over what was
inferred and is an error when broken; what was only inferred is a warning.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from trimtab.errors import DataRefused
from trimtab.spec.data import ColumnContract, Data
from trimtab.spec.scope import Problem
from trimtab.stages.anomalies import check
from trimtab.stages.anomaly import Anomaly
from trimtab.stages.columns import stated_type
from trimtab.stages.contract import NUMERIC, ColumnRule, ColumnType, Contract, Role, Statement
from trimtab.stages.skew import skew
from trimtab.stages.text_rules import dropped_rows
from trimtab.stages.units import DECILES

__all__ = ["Anomaly", "Contract", "check", "infer", "skew"]

MOST_DOMAIN = 50
"""A text column with more different values than this has no inferred domain."""
LEAST_IDENTIFIERS = 30
"""A text column with at least so many values, each in one row only, names the rows and teaches nothing."""


def infer(frame: pd.DataFrame, data: Data, problem: Problem, *, include: tuple[str, ...] = ()) -> Contract:
    """Fit the contract to reference rows as `ingest.read` gives them; `include` is `features.include`.

    Columns that `include` leaves out get the role "ignored", text columns that name each row anew "identifier", unless
    `include` or `data.contract` names them. Raises DataRefused when the rows cannot teach anything:
    none, no label, one class only, a regression label that is not a number, or a statement that contradicts the data.
    """
    if frame.empty:
        raise DataRefused("no rows to learn from. Give a source with rows, or a wider `training.window`.")
    names = [name for name in frame.columns if not name.startswith("_")]
    for name in data.contract:
        if name not in names:
            raise DataRefused(f"data.contract.{name}: there is no such column; the columns are {', '.join(names)}.")
    columns = tuple(_rule(frame[name], data, _role(frame[name], data, include), problem) for name in names)
    contract = Contract(problem=problem, rows=len(frame), columns=columns)
    _refuse_unlearnable(frame, contract)
    return contract


def _role(series: pd.Series, data: Data, include: tuple[str, ...]) -> Role:
    name = str(series.name)
    named: dict[str | None, Role] = {data.entity: "entity", data.id: "id", data.label.column: "label"}
    if name in named:
        return named[name]
    if name in (data.time.column, data.time.year, data.time.month, data.time.day) and name not in include:
        return "time"
    if name in data.ignore or (include and name not in include):
        return "ignored"
    if name not in include and name not in data.contract and _names_rows(series):
        return "identifier"
    return "feature"


def _names_rows(series: pd.Series) -> bool:
    known = series.dropna()
    return len(known) >= LEAST_IDENTIFIERS and column_type(series) == "string" and bool(known.is_unique)


def _rule(series: pd.Series, data: Data, role: Role, problem: Problem) -> ColumnRule:
    """One column's rule: the person's statements first, what the data shows for the rest."""
    name = str(series.name)
    said = data.contract.get(name, ColumnContract())
    kind = stated_type(said) or column_type(series)
    if kind == "number" and said.type is None and column_type(series) == "integer":
        kind = "integer"
    numbers = _finite(series) if kind in NUMERIC else np.empty(0)
    minimum = said.min if said.min is not None else (float(numbers.min()) if numbers.size else None)
    maximum = said.max if said.max is not None else (float(numbers.max()) if numbers.size else None)
    if (said.min is not None or said.max is not None) and kind not in NUMERIC:
        raise DataRefused(f"data.contract.{name}: min and max are for numbers, but the column is {kind}.")
    if said.min is not None and numbers.size and maximum is not None and said.min > maximum:
        raise DataRefused(
            f"data.contract.{name}.min: {said.min:g}, but no value is above {numbers.max():g}. Check the unit."
        )
    if said.max is not None and numbers.size and minimum is not None and said.max < minimum:
        raise DataRefused(
            f"data.contract.{name}.max: {said.max:g}, but no value is below {numbers.min():g}. Check the unit."
        )
    return ColumnRule(
        name=name,
        type=kind,
        role=role,
        unit=said.unit,
        minimum=minimum,
        maximum=maximum,
        domain=said.domain or _domain(series, kind, role == "label" and problem == "classification"),
        max_missing_share=said.max_missing_share,
        missing_share=float(series.isna().mean()),
        deciles=_deciles(numbers),
        constant=series.nunique(dropna=True) == 1 and not series.isna().any(),
        stated=_stated(said),
    )


def _stated(said: ColumnContract) -> tuple[Statement, ...]:
    given: dict[Statement, bool] = {
        "type": said.type is not None,
        "min": said.min is not None,
        "max": said.max is not None,
        "domain": bool(said.domain),
        "max_missing_share": said.max_missing_share is not None,
    }
    return tuple(name for name, stated in given.items() if stated)


def column_type(series: pd.Series) -> ColumnType:
    """The contract type of a column as ingest gives it; "empty" when it holds no value."""
    kind = series.dtype.kind
    if kind == "b":
        return "boolean"
    if kind in "iu":
        return "integer"
    present = series.dropna()
    if present.empty:
        return "empty"
    if kind == "f":
        return "number"
    first = present.iloc[0]
    if isinstance(first, bool | np.bool_):
        return "boolean"
    return "integer" if isinstance(first, int | np.integer) else "string"


def _finite(series: pd.Series) -> np.ndarray:
    values = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64)
    return np.asarray(values[np.isfinite(values)])


def _deciles(numbers: np.ndarray) -> tuple[float, ...] | None:
    return tuple(float(value) for value in np.quantile(numbers, DECILES)) if numbers.size else None


def _domain(series: pd.Series, kind: ColumnType, classes: bool) -> tuple[str, ...] | None:
    """The values of a text column with few of them; always those of a class label."""
    if not classes and kind != "string":
        return None
    values = series.dropna().unique()
    if not classes and len(values) > min(MOST_DOMAIN, max(2, len(series) // 2)):
        return None
    return tuple(sorted(str(value) for value in values))


def _refuse_unlearnable(frame: pd.DataFrame, contract: Contract) -> None:
    label = contract.label
    values = frame[label.name].dropna()
    if values.empty:
        raise DataRefused(f"column {label.name!r} (data.label.column) has no value in any row. Name the right column.")
    if contract.problem == "regression":
        if label.type not in NUMERIC:
            raise DataRefused(
                f"column {label.name!r} is {label.type} ({str(values.iloc[0])[:40]!r}, …), but a regression "
                "predicts a number. Say `scope.problem: classification`, or name another label."
            )
        if values.nunique() == 1:
            raise DataRefused(
                f"column {label.name!r} is always {values.iloc[0]}; there is nothing to learn. Give more data."
            )
    elif values.nunique() == 1:
        raise DataRefused(
            f"column {label.name!r} holds one class only, {str(values.iloc[0])!r}, in all {len(values)} rows; a "
            "classifier needs two. Give rows of another class, a wider `training.window`, or another label"
            f"{f': {left_out}' if (left_out := dropped_rows(frame, label.name)) else ''}."
        )
    if not contract.features:
        raise DataRefused(
            "no column is left to learn from. Take some out of `data.ignore`, or correct `features.include`."
        )
