"""Evidently's comparisons of two frames. Evidently is imported inside the functions, with its telemetry off.

The import takes 3 to 13 s of CPU, most of it for scikit-learn, plotly, litestar and nltk, which Evidently's package
imports whatever is used of it: a parent that forks tasks does well to import `evidently` once. It opens no connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trimtab.decisions.drift import ColumnDrift
from trimtab.stages.identity import LABEL, PREDICTION
from trimtab.stages.sample import Kind, numbers, texts

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

MOST_CATEGORIES = 30
"""Categories of a column, or classes, that are shown; rarer ones are taken together as one."""
_TEST = "trimtab_psi"
_JUDGED: ContextVar[Mapping[str, ColumnDrift]] = ContextVar("judged")
_OURS = {"label": LABEL, "prediction": PREDICTION}
"""How Evidently's pages call them, and how our frames do."""
OTHERS = "(others)"
MISSING = "(missing)"


def drift(
    reference: pd.DataFrame,
    served: pd.DataFrame,
    kinds: Mapping[str, Kind],
    judged: Mapping[str, ColumnDrift],
    *,
    drifted: bool,
) -> tuple[Snapshot | None, tuple[str, ...]]:
    """Evidently's DataDriftPreset over the columns that were `judged`; and the columns left out.

    Its scores, thresholds and detections are those of `judged`, given to it as a test of its own kind
    (https://docs.evidentlyai.com/metrics/customize_data_drift), so that the tables never contradict the verdict.
    Left out are columns without any value on one side, which Evidently cannot compare; None when nothing is left.
    """
    before, now, left_out = _comparable(reference, served, {name: kinds[name] for name in kinds if name in judged})
    if not len(before) or not len(now):
        return None, left_out
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    _register_test()
    names = list(now.columns)
    definition = DataDefinition(
        numerical_columns=[name for name in names if kinds[name] == "number"],
        categorical_columns=[name for name in names if kinds[name] == "category"],
    )
    preset = DataDriftPreset(
        columns=names,
        method=_TEST,
        per_column_threshold={name: judged[name].threshold for name in names},
        drift_share=int(100 / len(names)) / 100 if drifted else 1.0,
    )
    given = _JUDGED.set(judged)
    try:
        report = Report([preset], include_tests=False)
        return report.run(Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition)), left_out
    finally:
        _JUDGED.reset(given)


@cache
def _register_test() -> None:
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    test = StatTest(
        name=_TEST,
        display_name="PSI, calibrated by trimtab",
        allowed_feature_types=[ColumnType.Numerical, ColumnType.Categorical],
        default_threshold=0.1,
    )
    register_stattest(test, default_impl=_judged)


def _judged(_reference: pd.Series, current: pd.Series, _kind: object, _threshold: float) -> tuple[float, bool]:
    """What trimtab found for the column, over all rows and with its missing values."""
    found = _JUDGED.get()[str(current.name)]
    return found.psi, found.drifted


def quality(holdout: pd.DataFrame, matured: pd.DataFrame, *, regression: bool) -> list[Snapshot]:
    """Evidently's quality of `matured` beside `holdout`, both with `_label` and `_prediction`."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if regression:
        return _regression(_numbers(holdout), _numbers(matured))
    return _classification(*_classes(holdout, matured))


def _regression(earlier: pd.DataFrame, current: pd.DataFrame) -> list[Snapshot]:
    from evidently import DataDefinition, Dataset, Regression, Report
    from evidently.presets import RegressionQuality

    definition = DataDefinition(
        numerical_columns=["label", "prediction"], regression=[Regression(target="label", prediction="prediction")]
    )
    baseline = Dataset.from_pandas(earlier, definition) if len(earlier) else None
    plots = RegressionQuality(pred_actual_plot=True, error_plot=True, error_distr=True)
    return [Report([plots], include_tests=False).run(Dataset.from_pandas(current, definition), baseline)]


def _classification(earlier: pd.DataFrame, current: pd.DataFrame) -> list[Snapshot]:
    from evidently import BinaryClassification, DataDefinition, Dataset, MulticlassClassification, Report
    from evidently.presets import ClassificationQuality, ClassificationQualityByLabel

    now, before = (sorted(np.unique(side.to_numpy(dtype=str))) for side in (current, earlier))
    columns = {"target": "label", "prediction_labels": "prediction"}
    binary = len(now) == 2
    task = BinaryClassification(**columns, pos_label=now[1]) if binary else MulticlassClassification(**columns)
    definition = DataDefinition(categorical_columns=["label", "prediction"], classification=[task])
    # Evidently 0.7.23 raises KeyError where one side has two classes and the other has not the same two, and, class by
    # class, for a class that its reference lacks: there the hold-out is left out; the head of the page has its metrics.
    fits = now == before if binary else len(before) not in (0, 2)
    rows = Dataset.from_pandas(current, definition)
    holdout = Dataset.from_pandas(earlier, definition) if fits else None
    overall = Report([ClassificationQuality(conf_matrix=True)], include_tests=False).run(rows, holdout)
    every = holdout if set(now) <= set(before) else None
    return [overall, Report([ClassificationQualityByLabel()], include_tests=False).run(rows, every)]


def _comparable(
    reference: pd.DataFrame, served: pd.DataFrame, kinds: Mapping[str, Kind]
) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    before: dict[str, pd.Series] = {}
    now: dict[str, pd.Series] = {}
    for name, kind in kinds.items():
        if name in reference and name in served:
            old, new = _plain(reference[name], served[name], kind)
            if old.notna().any() and new.notna().any():
                before[name], now[name] = (old, new) if kind == "number" else (old.fillna(MISSING), new.fillna(MISSING))
    return pd.DataFrame(before), pd.DataFrame(now), tuple(name for name in kinds if name not in now)


def _plain(old: pd.Series, new: pd.Series, kind: Kind) -> tuple[pd.Series, pd.Series]:
    if kind == "number":
        return _finite(old), _finite(new)
    left, right = (pd.Series(texts(side), dtype=object) for side in (old, new))
    frequent = _frequent(left, right)
    return _word(left, frequent), _word(right, frequent)


def _finite(series: pd.Series) -> pd.Series:
    return pd.Series(numbers(series)).replace([np.inf, -np.inf], np.nan)


def _frequent(*sides: pd.Series) -> list[str]:
    return list(pd.concat(sides).value_counts().index[:MOST_CATEGORIES])


def _word(series: pd.Series, frequent: list[str]) -> pd.Series:
    return series.where(series.isin(frequent) | series.isna(), OTHERS)


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    if not all(column in rows for column in _OURS.values()):
        return pd.DataFrame({name: [] for name in _OURS}, dtype=np.float64)
    return pd.DataFrame({name: _finite(rows[column]) for name, column in _OURS.items()}).dropna()


def _classes(*sides: pd.DataFrame) -> list[pd.DataFrame]:
    """Labels and predictions as text, rare classes of all sides together as one."""
    empty = pd.DataFrame({name: [] for name in _OURS}, dtype=object)
    read = [
        pd.DataFrame({name: texts(rows[column]) for name, column in _OURS.items()}, dtype=object).dropna()
        if all(column in rows for column in _OURS.values())
        else empty
        for rows in sides
    ]
    frequent = _frequent(*(rows[name] for rows in read for name in _OURS))
    return [rows.apply(_word, args=(frequent,)) for rows in read]
