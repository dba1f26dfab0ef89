"""The report of a monitoring window, by Evidently: data drift, prediction drift and, where labels matured, quality.

trimtab's own verdict, calibrated on null windows, heads the page, and Evidently's tables show its scores.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from trimtab.decisions.drift import ColumnDrift
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.decisions.observed import Estimate
from trimtab.spec.document import LoopSpec
from trimtab.stages import evidently_snapshots
from trimtab.stages.collect import Window
from trimtab.stages.identity import PREDICTION
from trimtab.stages.sample import Kind, kinds

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

    from trimtab.stages.contract import Contract

Found = TypeVar("Found")

MOST_ROWS = 5000
"""Rows a side that Evidently gets; of more, a seeded sample. trimtab's own statistics are over all rows."""
MOST_COLUMNS = 40
"""Columns in the report: those that matter most by the verdict."""


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
    rows, on which every model looks better than it is). What cannot be compared is left out and the page says so. About
    0.4 s of CPU; 4 MB of HTML, nearly all of it Evidently's JavaScript.
    """
    of_columns = _shown(kinds(reference, columns, contract), verdict)
    answer = "prediction" if "prediction" not in columns else "(prediction)"  # as the page calls it
    of_columns[answer] = "number" if spec.scope.problem == "regression" else "category"
    random = np.random.default_rng(seed)
    notes: list[str] = []
    nothing: tuple[Snapshot | None, tuple[str, ...]] = (None, ())
    drift, left_out = _told(
        lambda: evidently_snapshots.drift(
            _some(reference, random).rename(columns={PREDICTION: answer}),
            _some(window.served, random).rename(columns={PREDICTION: answer}),
            of_columns,
            _judged(verdict, answer),
            drifted=verdict.drift.verdict == "drifted",
        ),
        nothing,
        "drift",
        notes,
    )
    notes += [f"{name} is not in the drift tables: no value to compare" for name in left_out]
    quality: list[Snapshot] = []
    if verdict.quality:
        quality = _told(
            lambda: evidently_snapshots.quality(
                _some(holdout, random), _some(window.matured, random), regression=spec.scope.problem == "regression"
            ),
            quality,
            "quality",
            notes,
        )
    parts = {"drift": [drift] if drift is not None else [], "quality": quality}
    return MonitoringReport(_page(verdict, parts, notes), _numbers(verdict, parts, notes))


def _told(make: Callable[[], Found], otherwise: Found, what: str, notes: list[str]) -> Found:
    """What `make` gives; if Evidently fails on it, the page says so: the verdict must not be lost to a plot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's about classes without a prediction; the page shows nought
            return make()
    except Exception as error:  # noqa: BLE001 - whatever a library raises on odd data
        notes.append(f"Evidently could not show {what}: {type(error).__name__}: {error}")
        return otherwise


def _shown(of_columns: dict[str, Kind], verdict: MonitoringVerdict) -> dict[str, Kind]:
    if len(of_columns) <= MOST_COLUMNS:
        return of_columns
    ranked = sorted(verdict.drift.columns, key=lambda one: (not one.drifted, -one.weight, -one.psi))
    kept = {one.feature for one in ranked[:MOST_COLUMNS]}
    return {name: kind for name, kind in of_columns.items() if name in kept}


def _judged(verdict: MonitoringVerdict, answer: str) -> dict[str, ColumnDrift]:
    found = {one.feature: one for one in verdict.drift.columns}
    return found if verdict.prediction_drift is None else {**found, answer: verdict.prediction_drift}


def _some(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    if len(frame) <= MOST_ROWS:
        return frame
    return frame.iloc[np.sort(random.choice(len(frame), MOST_ROWS, replace=False))]


def _page(verdict: MonitoringVerdict, parts: dict[str, list[Snapshot]], notes: Sequence[str]) -> str:
    """One page: trimtab's verdict, then Evidently's widgets."""
    from evidently.core.metric_types import render_widgets
    from evidently.legacy.renderers.html_widgets import group_widget, text_widget

    titles = {"drift": "Served rows against training rows", "quality": "Matured labels against the hold-out"}
    widgets = [text_widget(text=_summary(verdict, notes))]
    for name, snapshots in parts.items():
        if snapshots:
            widgets.append(text_widget(text=f"## {titles[name]}"))
        for snapshot in snapshots:
            widgets += snapshot.to_snapshot_model().widgets
    page: str = render_widgets([group_widget(title="", widgets=widgets)], as_iframe=False)
    return page


def _summary(verdict: MonitoringVerdict, notes: Sequence[str]) -> str:
    """The verdict in Markdown."""
    head = f"{verdict.since:%Y-%m-%d} to {verdict.until:%Y-%m-%d}: {verdict.rows} rows, {verdict.labels} labels matured"
    lines = [f"# {verdict.verdict.capitalize()}", "", head, ""]
    lines += [f"- **Alarm**: {alarm.sentence}" for alarm in verdict.alarms]
    told = " ".join(alarm.sentence for alarm in verdict.alarms)
    lines += [f"- {_quality(name, one, verdict.holdout.get(name))}" for name, one in verdict.quality.items()]
    lines += [f"- {reason}" for reason in (*verdict.reasons, *verdict.skew, *notes) if reason not in told]
    return "\n".join(lines)


def _quality(name: str, live: Estimate, holdout: Estimate | None) -> str:
    said = f"{name} {live.value:.3f} ({live.low:.3f} to {live.high:.3f}) over {live.n} labels"
    return said if holdout is None else f"{said}; on the hold-out {holdout.value:.3f} over {holdout.n}"


def _numbers(verdict: MonitoringVerdict, parts: dict[str, list[Snapshot]], notes: Sequence[str]) -> str:
    found = {name: [json.loads(one.json()) for one in snapshots] for name, snapshots in parts.items()}
    document = {"verdict": json.loads(verdict.to_json()), "notes": list(notes), "evidently": _finite(found)}
    return json.dumps(document, allow_nan=False)


def _finite(value: Any) -> Any:
    """Evidently writes NaN and infinity, which JSON has not: null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
