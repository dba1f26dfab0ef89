"""Evidently's report of a monitoring window: data drift, prediction drift and, where labels matured, quality.

Evidently is imported inside `write` (4 to 13 s, most of it scikit-learn, plotly, litestar and nltk, which its package
imports whatever is used), with its telemetry off; it opens no connection. Its columns are compared by PSI against the
thresholds of trimtab's own verdict, which is calibrated and stands at the head of the page. Its bins are its own
(Sturges), so that near a threshold the two may differ: the verdict counts.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.spec.document import LoopSpec
from trimtab.stages.collect import Window
from trimtab.stages.sample import Kind, kinds, numbers, texts

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

    from trimtab.stages.contract import Contract

MOST_ROWS = 5000
"""Rows a side that Evidently gets; beyond, a sample drawn with the seed. trimtab's own statistics are over all rows."""
MOST_CATEGORIES = 30
"""Categories of a column in the report; rarer ones are shown as one."""
MOST_COLUMNS = 40
"""Columns in the report: those that matter most by the verdict."""
OTHERS = "(others)"
MISSING = "(missing)"


@dataclass(frozen=True)
class MonitoringReport:
    """One self-contained page, which opens offline, and Evidently's numbers with trimtab's verdict, as JSON text."""

    html: str
    json: str


def write(
    spec: LoopSpec,
    reference: pd.DataFrame,
    holdout: pd.DataFrame,
    window: Window,
    verdict: MonitoringVerdict,
    *,
    columns: Sequence[str],
    contract: Contract | None = None,
    seed: int = 0,
) -> MonitoringReport:
    """The report of what `monitor.monitor` judged, from the same frames.

    Drift compares the served rows with the training rows, quality the matured rows with the hold-out (not with training
    rows, on which every model looks better than it is). A part without rows, or a column without a value on either
    side, is left out and said so. About 0.4 s and 4 MB of HTML a report, most of which is Evidently's JavaScript.
    """
    of_columns = _shown(kinds(reference, columns, contract), verdict)
    of_columns["prediction"] = "number" if spec.scope.problem == "regression" else "category"
    random = np.random.default_rng(seed)
    before, now, left_out = _comparable(_some(reference, random), _some(window.served, random), of_columns)
    notes = [f"{name}: no value to compare" for name in left_out]
    drift = _drift(before, now, of_columns, verdict) if len(now) and len(before) and now.columns.size else None
    quality = _quality(spec, _some(holdout, random), _some(window.matured, random), verdict)
    if drift is None:
        notes.append("no served rows to compare with the training rows")
    if quality is None:
        notes.append("no quality: too few matured labels")
    return MonitoringReport(_page(verdict, drift, quality, notes), _numbers(verdict, drift, quality))


def _shown(of_columns: dict[str, Kind], verdict: MonitoringVerdict) -> dict[str, Kind]:
    if len(of_columns) <= MOST_COLUMNS:
        return dict(of_columns)
    ranked = sorted(verdict.drift.columns, key=lambda one: (not one.drifted, -one.weight, -one.psi))
    kept = {one.feature for one in ranked[:MOST_COLUMNS]}
    return {name: kind for name, kind in of_columns.items() if name in kept}


def _some(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    if len(frame) <= MOST_ROWS:
        return frame
    return frame.iloc[np.sort(random.choice(len(frame), MOST_ROWS, replace=False))]


def _comparable(
    reference: pd.DataFrame, served: pd.DataFrame, of_columns: dict[str, Kind]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Both sides with the same plain types; columns without any value on one side are named, not compared."""
    before, now, left_out = {}, {}, []
    for name, kind in of_columns.items():
        if name not in reference or name not in served:
            left_out.append(name)
            continue
        old, new = _plain(reference[name], served[name], kind)
        if old.isna().all() or new.isna().all():
            left_out.append(name)
        else:
            before[name], now[name] = (old, new) if kind == "number" else (old.fillna(MISSING), new.fillna(MISSING))
    return pd.DataFrame(before), pd.DataFrame(now), left_out


def _plain(old: pd.Series, new: pd.Series, kind: Kind) -> tuple[pd.Series, pd.Series]:
    if kind == "number":
        return _number(old), _number(new)
    left, right = (pd.Series(texts(side), dtype=object) for side in (old, new))
    frequent = list(pd.concat([left, right]).value_counts().index[:MOST_CATEGORIES])
    return _word(left, frequent), _word(right, frequent)


def _number(series: pd.Series) -> pd.Series:
    return pd.Series(numbers(series)).replace([np.inf, -np.inf], np.nan)


def _word(series: pd.Series, frequent: list[str]) -> pd.Series:
    known = series.isin(frequent) | series.isna()
    return series.where(known, OTHERS)


def _drift(
    before: pd.DataFrame, now: pd.DataFrame, of_columns: dict[str, Kind], verdict: MonitoringVerdict
) -> Snapshot:
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    judged = {one.feature: one.threshold for one in verdict.drift.columns}
    if verdict.prediction_drift is not None:
        judged["prediction"] = verdict.prediction_drift.threshold
    names = list(now.columns)
    definition = DataDefinition(
        numerical_columns=[name for name in names if of_columns[name] == "number"],
        categorical_columns=[name for name in names if of_columns[name] == "category"],
    )
    preset = DataDriftPreset(
        columns=names,
        method="psi",
        per_column_threshold={name: judged.get(name, 0.1) for name in names},
        include_tests=False,
    )
    return Report([preset]).run(Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition))


def _quality(
    spec: LoopSpec, holdout: pd.DataFrame, matured: pd.DataFrame, verdict: MonitoringVerdict
) -> Snapshot | None:
    if not verdict.quality or matured.empty:
        return None
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from evidently import DataDefinition, Dataset, MulticlassClassification, Regression, Report
    from evidently.presets import ClassificationPreset, RegressionPreset

    regression = spec.scope.problem == "regression"
    current, earlier = (_answers(side, regression) for side in (matured, holdout))
    if regression:
        definition = DataDefinition(
            numerical_columns=["label", "prediction"], regression=[Regression(target="label", prediction="prediction")]
        )
        items = [RegressionPreset(include_tests=False)]
    else:
        definition = DataDefinition(
            categorical_columns=["label", "prediction"],
            classification=[MulticlassClassification(target="label", prediction_labels="prediction")],
        )
        items = [ClassificationPreset(include_tests=False)]
    baseline = Dataset.from_pandas(earlier, definition) if len(earlier) else None
    return Report(items).run(Dataset.from_pandas(current, definition), baseline)


def _answers(rows: pd.DataFrame, regression: bool) -> pd.DataFrame:
    if "label" not in rows or "prediction" not in rows:
        return pd.DataFrame({"label": [], "prediction": []})
    read = numbers if regression else texts
    return pd.DataFrame({name: read(rows[name]) for name in ("label", "prediction")}).dropna()


def _page(verdict: MonitoringVerdict, drift: Snapshot | None, quality: Snapshot | None, notes: Sequence[str]) -> str:
    """One page: trimtab's verdict, then Evidently's widgets of both comparisons."""
    from evidently.core.metric_types import render_widgets
    from evidently.legacy.renderers.html_widgets import group_widget, header_text, text_widget

    widgets = [text_widget(text=_summary(verdict, notes))]
    for title, snapshot in (("Served rows against training rows", drift), ("Labels against the hold-out", quality)):
        if snapshot is not None:
            widgets += [header_text(label=title), *snapshot.to_snapshot_model().widgets]
    page: str = render_widgets([group_widget(title="", widgets=widgets)], as_iframe=False)
    return page


def _summary(verdict: MonitoringVerdict, notes: Sequence[str]) -> str:
    """The verdict in Markdown."""
    lines = [f"## {verdict.verdict.capitalize()}", ""]
    lines += [f"{verdict.since:%Y-%m-%d} to {verdict.until:%Y-%m-%d}, {verdict.rows} rows, {verdict.labels} labels", ""]
    lines += [f"- **Alarm**: {alarm.sentence}" for alarm in verdict.alarms]
    lines += [f"- {reason}" for reason in (*verdict.reasons, *verdict.skew, *notes)]
    return "\n".join(lines)


def _numbers(verdict: MonitoringVerdict, drift: Snapshot | None, quality: Snapshot | None) -> str:
    parts = {"drift": drift, "quality": quality}
    found = {name: json.loads(part.json(), parse_constant=lambda _: None) for name, part in parts.items() if part}
    return json.dumps({"verdict": json.loads(verdict.to_json()), **_finite(found)}, allow_nan=False)


def _finite(value: Any) -> Any:
    """Without NaN and infinity (1e999 parses as one): null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
