"""Watching one window of served rows against what the champion was trained on.

The component wires it so (frames in, value and report out; no file is read here)::

    found = cohort.join(predictions, labels, now, spec.data.label.delay)
    fields = [rule.name for rule in contract.features]
    window = collect.window(found, fields, since=now - spec.monitoring.window, until=now, version=champion)
    verdict = monitor.monitor(spec, reference, holdout, window, now=now, columns=manifest.columns, ...)
    report = monitoring_report.write(spec, reference, holdout, window, verdict, columns=manifest.columns)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from trimtab.decisions import drift
from trimtab.decisions.drift import ColumnDrift, DriftVerdict
from trimtab.decisions.monitoring import MonitoringVerdict, RaisedAlarm, bounds, judge_bounds
from trimtab.decisions.observed import Estimate, UnseenClass
from trimtab.spec.document import LoopSpec
from trimtab.stages import live_metrics
from trimtab.stages.collect import Window
from trimtab.stages.identity import LABEL_TIME, PREDICTION, VERSION
from trimtab.stages.sample import Kind, kinds, sample, texts

if TYPE_CHECKING:
    from trimtab.stages.contract import Contract


def monitor(
    spec: LoopSpec,
    reference: pd.DataFrame,
    holdout: pd.DataFrame,
    window: Window,
    *,
    now: datetime,
    columns: Sequence[str],
    classes: Sequence[str] | None = None,
    importance: Mapping[str, float] | None = None,
    contract: Contract | None = None,
    failed: int = 0,
    seed: int = 0,
) -> MonitoringVerdict:
    """Judge a window of traffic and the labels that matured in it.

    `reference`, `holdout`: the bundle's frames (raw `columns`, `label`, `prediction`; `reference` with `_time` too, so
    that seasons are part of what counts as no change). `columns`, `classes`: of the manifest (None: regression).
    `importance`: raw column -> fall of quality without it; None means unknown, so that every column counts.
    `contract`: for schema skew. `failed`: requests of the window that got no answer, beside the rows served.
    """
    seconds = (window.until - window.since).total_seconds()
    of_columns = kinds(reference, columns, contract)
    drifted = drift.judge(
        sample(reference, of_columns, in_time=True),
        sample(window.served, of_columns),
        spec.monitoring.drift,
        window_seconds=seconds,
        importance=importance,
        seed=seed,
    )
    predicted = _prediction_drift(spec, reference, window, seconds, seed)
    unseen = _unseen(window, classes)
    quality, quality_reasons = live_metrics.quality(spec, window.matured, classes)
    measured = live_metrics.software(window.served, failed, spec.quality.confidence)
    measured |= _data_metrics(drifted, predicted, unseen, window, spec.quality.confidence)
    raised, bound_reasons = judge_bounds(bounds(spec), {**measured, **quality})
    skew, skew_alarms = _skew(reference, window.served, columns, contract)
    alarms = (*raised, *_drift_alarm(drifted), *_unseen_alarms(spec, unseen), *skew_alarms)
    return MonitoringVerdict(
        verdict=_verdict(alarms, drifted),
        since=window.since,
        until=window.until,
        now=now,
        rows=len(window.served),
        labels=len(window.matured),
        alarms=alarms,
        drift=drifted,
        prediction_drift=predicted,
        unseen=unseen,
        quality=quality,
        holdout=live_metrics.on_holdout(spec, holdout, classes, tuple(quality)),
        measured=measured,
        skew=skew,
        reasons=(*drifted.reasons, *quality_reasons, *bound_reasons),
        counts={"served": len(window.served), "failed": failed, "labels": window.labels.size},
        rows_until=live_metrics.newest(window.matured, "_time"),
        labels_until=live_metrics.newest(window.matured, LABEL_TIME),
    )


def _verdict(
    alarms: Sequence[RaisedAlarm], drifted: DriftVerdict
) -> Literal["healthy", "alarm", "insufficient evidence"]:
    if alarms:
        return "alarm"
    return "insufficient evidence" if drifted.verdict == "insufficient evidence" else "healthy"


def _prediction_drift(
    spec: LoopSpec, reference: pd.DataFrame, window: Window, seconds: float, seed: int
) -> ColumnDrift | None:
    """The champion's answers against its answers on training rows; None where either is not there."""
    mine = window.served
    if window.version is not None and VERSION in mine:
        mine = mine[mine[VERSION] == window.version]
    if PREDICTION not in reference or PREDICTION not in mine or reference.empty or mine.empty:
        return None
    kind: dict[str, Kind] = {PREDICTION: "number" if spec.scope.problem == "regression" else "category"}
    found = drift.judge(
        sample(reference, kind, in_time=True),
        sample(mine, kind),
        spec.monitoring.drift,
        window_seconds=seconds,
        seed=seed,
    )
    return replace(found.columns[0], feature="prediction", importance=None)


def _unseen(window: Window, classes: Sequence[str] | None) -> tuple[UnseenClass, ...]:
    """Classes among the labels that matured, whoever predicted, which the champion never saw; most frequent first."""
    if classes is None or not window.labels.size:
        return ()
    values, counts = np.unique(texts(pd.Series(window.labels, dtype=object)).astype(str), return_counts=True)
    known = set(classes)
    found = [
        UnseenClass(str(value), int(count), float(count) / window.labels.size)
        for value, count in zip(values, counts, strict=True)
        if value not in known
    ]
    return tuple(sorted(found, key=lambda one: (-one.count, one.label)))


def _data_metrics(
    drifted: DriftVerdict,
    predicted: ColumnDrift | None,
    unseen: Sequence[UnseenClass],
    window: Window,
    confidence: float,
) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    if drifted.verdict != "insufficient evidence":
        share = drifted.drift_share
        found["drift_share"] = Estimate(share, share, share, drifted.rows)
        if predicted is not None:
            found["prediction_drift"] = Estimate(predicted.psi, predicted.psi, predicted.psi, drifted.rows)
    if window.labels.size:
        count = sum(one.count for one in unseen)
        found["unseen_class_share"] = live_metrics.share(count, window.labels.size, confidence)
    return found


def _drift_alarm(drifted: DriftVerdict) -> tuple[RaisedAlarm, ...]:
    """One alarm a window, however many columns drifted: they share one false-alarm budget."""
    if drifted.verdict != "drifted":
        return ()
    named = {column.feature: column for column in drifted.columns}
    first = named[drifted.causes[0]]
    sentence = "drift: " + "; ".join(named[name].sentence for name in drifted.causes)
    return (RaisedAlarm("drift", first.feature, first.psi, first.threshold, sentence),)


def _unseen_alarms(spec: LoopSpec, unseen: Sequence[UnseenClass]) -> tuple[RaisedAlarm, ...]:
    policy = spec.retraining
    return tuple(
        RaisedAlarm(
            "unseen-class",
            one.label,
            one.share,
            policy.new_class_share,
            f"{one.label} was never seen in training: {one.count} labels, {one.share:.1%} of the window's",
        )
        for one in unseen
        if one.count >= policy.new_class_least and one.share >= policy.new_class_share
    )


def _skew(
    reference: pd.DataFrame, served: pd.DataFrame, columns: Sequence[str], contract: Contract | None
) -> tuple[tuple[str, ...], tuple[RaisedAlarm, ...]]:
    """Schema skew in sentences, the errors among it as alarms. Distributions are left to the drift verdict."""
    if contract is None or served.empty or reference.empty:
        return (), ()
    from trimtab.stages.validate import skew

    raw = [name for name in columns if name in served]
    found = [one for one in skew(reference, served[raw], contract) if one.rule != "distribution"]
    alarms = tuple(
        RaisedAlarm("skew", one.column, one.share, 0.0, one.sentence) for one in found if one.severity == "error"
    )
    return tuple(one.sentence for one in found), alarms
