"""What a monitoring window shows, as one value: alarms, drift, classes never seen, quality, with reasons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from trimtab.decisions.drift import ColumnDrift, DriftVerdict
from trimtab.decisions.exact import decode, encode
from trimtab.decisions.observed import Estimate, FeatureDrift, MonitoringSeen, Quality, UnseenClass
from trimtab.errors import DataRefused
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.spec.monitoring import Alarm

AlarmKind = Literal["bound", "drift", "unseen-class", "skew"]


@dataclass(frozen=True)
class RaisedAlarm:
    """One thing that a person should know now. `bound` is what `value` passed."""

    kind: AlarmKind
    metric: str
    value: float
    bound: float
    sentence: str


@dataclass(frozen=True)
class MonitoringVerdict:
    """The evidence of one window [since, until), as known at `now`.

    `rows` are served rows, `labels` the labels of the champion's own answers that matured in the window; `quality` is
    measured on those, `holdout` (the same metrics) on the champion's hold-out when it was made. `measured` holds the
    software and data metrics; a plain count has low = high = value.
    """

    verdict: Literal["healthy", "alarm", "insufficient evidence"]
    since: datetime
    until: datetime
    now: datetime
    rows: int
    labels: int
    alarms: tuple[RaisedAlarm, ...]
    drift: DriftVerdict
    prediction_drift: ColumnDrift | None = None
    unseen: tuple[UnseenClass, ...] = ()
    quality: Mapping[str, Estimate] = field(default_factory=dict)
    holdout: Mapping[str, Estimate] = field(default_factory=dict)
    measured: Mapping[str, Estimate] = field(default_factory=dict)
    skew: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    rows_until: datetime | None = None  # newest event time among the rows with matured labels
    labels_until: datetime | None = None  # newest time a label among them became known

    @property
    def sentence(self) -> str:
        """The window in one sentence."""
        head = f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}: {self.verdict}, {self.rows} rows, {self.labels} labels"
        said = [alarm.sentence for alarm in self.alarms] or list(self.reasons[:1])
        return f"{head}: {'; '.join(said)}" if said else head

    def seen(self) -> MonitoringSeen:
        """The window as the decision to retrain takes it. A column that the model does not use has importance 0."""
        return MonitoringSeen(
            time=self.now,
            verdict=self.verdict,
            alarms={f"{alarm.kind}:{alarm.metric}": alarm.sentence for alarm in self.alarms},
            drift=tuple(
                FeatureDrift(column.feature, column.drifted, column.weight if column.used else 0.0)
                for column in self.drift.columns
            ),
            unseen=self.unseen,
            labels_until=self.labels_until,
            window_from=self.since,
            drift_verdict=self.drift.verdict,
            labels=self.counts.get("labels", self.labels),
        )

    def live_quality(self) -> Quality:
        """Quality on the window and on the hold-out, as the decision to retrain takes it."""
        return Quality(self.quality, self.holdout, self.rows_until, self.labels_until)

    def to_json(self) -> str:
        """The verdict as JSON text; NaN and infinity cannot be in it (ValueError)."""
        return json.dumps(encode(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> MonitoringVerdict:
        """Read what `to_json` wrote; raises DataRefused on anything else, naming the first thing that is wrong."""
        try:
            return decode(cls, json.loads(text))
        except ValueError as error:
            raise DataRefused(
                f"this is not a monitoring verdict that trimtab wrote: {error}. Monitor the window again."
            ) from error


def bounds(spec: LoopSpec) -> tuple[Alarm, ...]:
    """The alarms in force: `monitoring.alarms`, or else every bound of scope that trimtab can compute."""
    if spec.monitoring.alarms:
        return spec.monitoring.alarms
    promised = (metric for metric in spec.metrics if metric.name in KNOWN)
    return tuple(
        Alarm(metric=metric.name, min=metric.min, max=metric.max)
        for metric in promised
        if metric.min is not None or metric.max is not None
    )


def judge_bounds(
    alarms: Iterable[Alarm], measured: Mapping[str, Estimate]
) -> tuple[tuple[RaisedAlarm, ...], tuple[str, ...]]:
    """Alarms whose whole interval is beyond the bound; and reasons: perhaps beyond it, or not measured."""
    raised: list[RaisedAlarm] = []
    reasons: list[str] = []
    for alarm in alarms:
        name, one = alarm.metric, measured.get(alarm.metric)
        if one is None:
            reasons.append(f"{name} was not measured: too few rows or labels")
            continue
        for bound, sure, perhaps, word in _sides(alarm, one):
            sentence = f"{name} {one.value:.4g} is {word} {bound:g} ({one.low:.4g} to {one.high:.4g}, n = {one.n})"
            if sure:
                raised.append(RaisedAlarm("bound", name, one.value, bound, sentence))
            elif perhaps:
                reasons.append(f"{sentence}, but not surely")
    return tuple(raised), tuple(reasons)


def _sides(alarm: Alarm, one: Estimate) -> Iterable[tuple[float, bool, bool, str]]:
    if alarm.min is not None:
        yield alarm.min, one.high < alarm.min, one.value < alarm.min, "below"
    if alarm.max is not None:
        yield alarm.max, one.low > alarm.max, one.value > alarm.max, "above"
