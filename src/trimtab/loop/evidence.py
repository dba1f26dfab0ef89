"""What the two logs say at one moment: the champion's quality, the candidate against it, latencies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from trimtab.decisions import clock, looks
from trimtab.decisions.compare import Answered, compare
from trimtab.decisions.judgement import slow_above_ms
from trimtab.decisions.observed import Comparison, Estimate, Latency, Quality
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
    served_since = clock.past(state, now, state.champion_since) if state.champion_since is not None else since
    starts = looks.starts(spec, served_since, now)
    first = min(since, *starts, state.release.started if state.release else since)
    until = now + timedelta(microseconds=1)
    # Labels are not older than their predictions but for clocks that differ; `before_prediction` counts such.
    numbers = spec.scope.problem == "regression"
    cohort = join(predictions.read(first, until), labels.read(first, until), now, delay, numbers=numbers)
    return Evidence(
        quality=_quality(spec, cohort, state.champion, (since, *starts), champion),
        comparison=_comparison(spec, cohort, state),
        latency=_latency(spec, cohort, state),
        counts=cohort.summary(),
    )


def _quality(
    spec: LoopSpec,
    cohort: Cohort,
    champion: str,
    starts: tuple[datetime, ...],
    registered: RegisteredVersion | None,
) -> Quality:
    """Over the monitoring window, which begins at the first of `starts`, and since the others for sure bounds."""
    scored, holdout = cohort.scored(champion), _holdout(registered)
    known = {*scored.prediction.tolist(), *_classes(registered)}
    promised = [one.name for one in spec.metrics if one.name in KNOWN and KNOWN[one.name].kind == "model"]
    live = _measured(spec, _since(scored, starts[0]), promised, known)
    if not live:
        return Quality(holdout=holdout)
    told = [_measured(spec, _since(scored, start), looks.names(spec), known) for start in starts[1:]]
    found = {name: looks.worst(spec, name, [one[name] for one in told if name in one]) for name in looks.names(spec)}
    sure = {name: one for name, one in found.items() if one is not None}
    matured = _matured(cohort, champion)
    return Quality(live, holdout, _newest(matured["time"]), _newest(matured["label_time"]), champion, sure)


def _measured(spec: LoopSpec, rows: Scored, names: Collection[str], classes: Collection[str]) -> dict[str, Estimate]:
    """Those of the metrics that need no scores; none over no rows. `classes`: those that the version can say."""
    if not len(rows):
        return {}
    truth, prediction = _values(spec, rows)
    found: dict[str, Estimate] = {}
    for name in names:
        if name in _NEEDS_SCORES:
            continue
        kept = metrics.counted(name, truth, classes, spec.retraining.new_class_least)
        if not kept.any():
            continue
        one = metrics.estimate(name, truth[kept], prediction[kept], confidence=spec.quality.confidence)
        if isfinite(one.low) and isfinite(one.high):  # one row alone says nothing of how far the rest may be
            found[name] = one
    return found


def _comparison(spec: LoopSpec, cohort: Cohort, state: LoopState) -> Comparison | None:
    if state.release is None or state.champion is None:
        return None
    told = _since(cohort.scored(state.champion), state.release.started)
    own = _since(cohort.scored(state.release.candidate), state.release.started)
    aside = cohort.scored(state.release.candidate, shadow=True)
    copies = dict(zip(aside.ids.tolist(), aside.prediction.tolist(), strict=True))
    numbers = spec.scope.problem == "regression"
    none = np.nan if numbers else None
    stable = [*told.prediction.tolist(), *[none] * len(own)]
    candidate = [*[copies.get(one, none) for one in told.ids.tolist()], *own.prediction.tolist()]
    kind: Any = np.float64 if numbers else object
    truth = np.concatenate([_values(spec, told)[0], _values(spec, own)[0]])
    rows = Answered(
        time=np.concatenate([told.times, own.times]),
        truth=truth,
        stable=np.array(stable, dtype=kind),
        candidate=np.array(candidate, dtype=kind),
        by_candidate=np.arange(len(truth)) >= len(told),
        labels_until=_newest(_matured(cohort)["label_time"]),
    )
    return compare(spec, state.release, rows)


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


def _classes(version: RegisteredVersion | None) -> Collection[str]:
    """Those that it can say; none of a version that was registered without them (`stages.register.short`)."""
    return [str(one) for one in version.evidence.get("classes") or ()] if version is not None else []


def _holdout(version: RegisteredVersion | None) -> Mapping[str, Estimate]:
    found: Mapping[str, Any] = version.evidence.get("metrics", {}) if version is not None else {}
    return {
        name: Estimate(float(one["value"]), float(one["low"]), float(one["high"]), int(one["n"]))
        for name, one in found.items()
        if one.get("value") is not None
    }
