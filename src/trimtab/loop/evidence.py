"""What the two logs say at one moment: the champion's quality, the candidate against it, latencies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from trimtab.decisions.observed import Comparison, Differences, Estimate, Latency, Paired, Quality, Right
from trimtab.decisions.release import slow_above_ms
from trimtab.decisions.state import LoopState
from trimtab.ports.records import RecordReader
from trimtab.ports.registry import RegisteredVersion
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.stages import metrics
from trimtab.stages.cohort import Cohort, Scored, join

_NEEDS_SCORES = ("log_loss", "calibration_error")


@dataclass(frozen=True)
class Evidence:
    """What the logs say. `counts` are those of the join, for people."""

    quality: Quality | None = None
    comparison: Comparison | None = None
    latency: Mapping[str, Latency] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


def gather(
    spec: LoopSpec,
    state: LoopState,
    now: datetime,
    predictions: RecordReader,
    labels: RecordReader,
    champion: RegisteredVersion | None,
) -> Evidence:
    """Read both logs as known at `now` and measure; nothing is measured without a champion."""
    if state.champion is None:
        return Evidence()
    delay = spec.data.label.delay
    since = now - spec.monitoring.window - delay
    first = min(since, state.release.started) if state.release else since
    until = now + timedelta(microseconds=1)
    # A label is never older than its prediction by more than clocks differ; one that is comes with a warning in the counts.
    cohort = join(predictions.read(first, until), labels.read(first, until), now, delay)
    return Evidence(
        quality=_quality(spec, cohort, state.champion, since, _holdout(champion)),
        comparison=_comparison(spec, cohort, state),
        latency=_latency(spec, cohort, state),
        counts=cohort.summary(),
    )


def _quality(
    spec: LoopSpec, cohort: Cohort, champion: str, since: datetime, holdout: Mapping[str, Estimate]
) -> Quality:
    rows = _since(cohort.scored(champion), since)
    if not len(rows):
        return Quality(holdout=holdout)
    truth, prediction = _values(spec, rows)
    live: dict[str, Estimate] = {}
    for promised in spec.metrics:
        known = KNOWN.get(promised.name)
        if known is None or known.kind != "model" or promised.name in _NEEDS_SCORES:
            continue
        found = metrics.estimate(promised.name, truth, prediction, confidence=spec.quality.confidence)
        live[promised.name] = Estimate(float(found.value), float(found.low), float(found.high), int(found.n))
    matured = _matured(cohort, champion)
    return Quality(live, holdout, rows_until=_newest(matured["time"]), labels_until=_newest(matured["label_time"]))


def _comparison(spec: LoopSpec, cohort: Cohort, state: LoopState) -> Comparison | None:
    if state.release is None or state.champion is None:
        return None
    champion, candidate, started = state.champion, state.release.candidate, state.release.started
    told, shown = (_since(rows, started) for rows in cohort.paired(champion, candidate))
    until = _newest(_matured(cohort)["label_time"])
    metric = spec.release.roll_back_when.metric or spec.main_metric
    if metric != "accuracy":
        return Comparison(differences=_differences(spec, metric, told, shown), labels_until=until)
    stable, other = told.truth == told.prediction, shown.truth == shown.prediction
    paired = Paired(len(told), int((stable & other).sum()), int((stable & ~other).sum()), int((~stable & other).sum()))
    champion_rows = _since(cohort.scored(champion), started)
    alone = np.isin(champion_rows.ids, told.ids, invert=True)
    return Comparison(
        paired=paired,
        stable=_right(_chosen(champion_rows, alone)),
        candidate=_right(_since(cohort.scored(candidate), started)),
        labels_until=until,
    )


def _right(rows: Scored) -> Right:
    return Right(len(rows), int((rows.truth == rows.prediction).sum()))


def _differences(spec: LoopSpec, metric: str, told: Scored, shown: Scored) -> Differences:
    if not len(told):
        return Differences()
    truth, stable = _values(spec, told)
    _, candidate = _values(spec, shown)
    gained = gains(metric, truth, stable, candidate)
    deviation = float(np.std(gained, ddof=1)) if len(gained) > 1 else 0.0
    return Differences(len(gained), float(np.mean(gained)), deviation)


def gains(metric: str, truth: np.ndarray, stable: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """How much better the candidate did on each row, (n,) float64, above nought is better.

    Regression: the fall of the absolute error (mae) or of the squared error (rmse, r2). Classification: right minus
    right, each class weighing the same for metrics that are means over classes (balanced_accuracy, macro_f1).
    """
    if metric == "mae":
        return np.asarray(np.abs(truth - stable) - np.abs(truth - candidate), dtype=float)
    if metric in ("rmse", "r2"):
        return np.asarray((truth - stable) ** 2 - (truth - candidate) ** 2, dtype=float)
    gained = (truth == candidate).astype(float) - (truth == stable).astype(float)
    if metric in ("balanced_accuracy", "macro_f1"):
        _, inverse, counts = np.unique(truth.astype(str), return_inverse=True, return_counts=True)
        gained *= len(truth) / (len(counts) * counts[inverse])
    return gained


def _latency(spec: LoopSpec, cohort: Cohort, state: LoopState) -> Mapping[str, Latency]:
    if state.release is None or state.champion is None:
        return {}
    began = pd.Timestamp(state.release.phase_started)
    live = cohort.answers[cohort.answers["time"] >= began]
    aside = cohort.shadows[cohort.shadows["time"] >= began]
    stable = Latency.of(_milliseconds(live, state.champion))
    candidate = [_milliseconds(frame, state.release.candidate) for frame in (live, aside)]
    slow = slow_above_ms(spec.release, stable)
    return {state.champion: stable, state.release.candidate: Latency.of(np.concatenate(candidate), slow)}


def _milliseconds(frame: pd.DataFrame, version: str) -> np.ndarray:
    return frame.loc[frame["version"] == version, "latency_ms"].to_numpy(dtype=float)


def _values(spec: LoopSpec, rows: Scored) -> tuple[np.ndarray, np.ndarray]:
    return rows.numbers() if spec.scope.problem == "regression" else (rows.truth, rows.prediction)


def _matured(cohort: Cohort, version: str | None = None) -> pd.DataFrame:
    frame = cohort.answers[cohort.answers["matured"].to_numpy(dtype=bool)]
    return frame if version is None else frame[frame["version"] == version]


def _newest(times: pd.Series[Any]) -> datetime | None:
    return None if times.empty else times.max().to_pydatetime()


def _since(rows: Scored, since: datetime) -> Scored:
    return _chosen(rows, rows.times >= np.datetime64(since.replace(tzinfo=None), "us"))


def _chosen(rows: Scored, kept: np.ndarray) -> Scored:
    return replace(
        rows,
        ids=rows.ids[kept],
        times=rows.times[kept],
        truth=rows.truth[kept],
        prediction=rows.prediction[kept],
        scores=None if rows.scores is None else rows.scores[kept],
        features=rows.features[kept],
    )


def _holdout(version: RegisteredVersion | None) -> Mapping[str, Estimate]:
    found: Mapping[str, Any] = version.evidence.get("metrics", {}) if version is not None else {}
    return {
        name: Estimate(float(one["value"]), float(one["low"]), float(one["high"]), int(one["n"]))
        for name, one in found.items()
        if one.get("value") is not None
    }
