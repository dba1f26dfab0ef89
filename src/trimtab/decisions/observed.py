"""What a turn saw. Values only: whoever observes fills them in, and the ledger keeps them beside the decisions.

Model metrics are in their own unit; shares are 0..1; latencies are milliseconds; times are aware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np

from trimtab.decisions.exact import decode, encode
from trimtab.decisions.state import Count


@dataclass(frozen=True)
class Estimate:
    """A metric over n rows with its confidence interval (that of `quality.confidence`, two-sided)."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Quality:
    """The champion's quality on matured labels of the monitoring window, by metric, and on its own hold-out."""

    live: Mapping[str, Estimate] = field(default_factory=dict)
    holdout: Mapping[str, Estimate] = field(default_factory=dict)
    rows_until: datetime | None = None  # newest event time among the live rows
    labels_until: datetime | None = None  # newest time a label among them became known
    version: str = ""  # the version it is about; empty: the one that `Observed.monitoring` is about
    sure: Mapping[str, Estimate] | None = None  # with bounds that hold at every look (`looks`); None: it is one look


@dataclass(frozen=True)
class Paired:
    """Rows since the release started that both versions answered (one of them as a shadow), with matured labels."""

    n: int = 0
    both_right: int = 0
    only_stable_right: int = 0
    only_candidate_right: int = 0


@dataclass(frozen=True)
class Sample:
    """One version's rows: how many, the sum of their scores and of the squared scores (a score above is better)."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        """Mean score; 0 without rows."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Variance of the scores, unbiased; 0 with fewer than two rows."""
        return max(0.0, self.squares - self.n * self.mean**2) / (self.n - 1) if self.n > 1 else 0.0


@dataclass(frozen=True)
class Differences:
    """Row by row, how much higher the candidate scored than the champion, over n rows both answered."""

    n: int = 0
    mean: float = 0.0
    sd: float = 0.0


@dataclass(frozen=True)
class Split:
    """Rows of one canary step, which only one version answered: chance decided which."""

    percent: int
    stable: Sample = Sample()
    candidate: Sample = Sample()


@dataclass(frozen=True)
class Comparison:
    """Candidate against champion on the same traffic since the release started, on matured labels only.

    Made by `compare.compare`. Rows that both answered are in `paired` when a row is right or wrong, else in
    `differences`; rows that one of them answered are in `splits`, one a canary step, for at another step another share
    of another time's rows went to the candidate, and sums over steps would compare times.
    """

    metric: str
    measure: str  # what is compared row by row, in words
    margin: float  # `worse_by` in the unit of a row's score
    paired: Paired | None = None
    differences: Differences | None = None
    splits: tuple[Split, ...] = ()
    labels_until: datetime | None = None


@dataclass(frozen=True)
class Latency:
    """One version's answers since the step began. `slow` counts those slower than `slow_above_ms`."""

    n: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    slow: int = 0
    slow_above_ms: float | None = None

    @classmethod
    def of(cls, milliseconds: Sequence[float] | np.ndarray, slow_above_ms: float | None = None) -> Latency:
        """Summarise latencies in milliseconds; for the candidate pass `release.slow_above_ms(policy, stable)`."""
        values = np.asarray(milliseconds, dtype=float)
        if not values.size:
            return cls(slow_above_ms=slow_above_ms)
        p50, p99 = np.quantile(values, (0.5, 0.99))
        slow = 0 if slow_above_ms is None else int((values > slow_above_ms).sum())
        return cls(int(values.size), float(p50), float(p99), slow, slow_above_ms)


@dataclass(frozen=True)
class ServerSeen:
    """How a version's server stands."""

    state: Literal["starting", "ready", "failed"]
    restarts: int = 0
    reason: str = ""


@dataclass(frozen=True)
class RunSeen:
    """How a pipeline run stands; `output` is the pipeline's outputs once it succeeded."""

    key: str
    state: Literal["RUNNING", "SUCCEEDED", "FAILED", "INTERRUPTED"]
    output: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class FeatureDrift:
    """One feature of the newest window against the training data; `importance` is relative (any unit, not negative)."""

    feature: str
    drifted: bool
    importance: float = 0.0


@dataclass(frozen=True)
class UnseenClass:
    """A class among matured labels that the champion was not trained on; `share` of all labels of the window."""

    label: str
    count: int
    share: float


@dataclass(frozen=True)
class MonitoringSeen:
    """The newest monitoring verdict about the present champion."""

    time: datetime
    verdict: str = ""
    alarms: Mapping[str, str] = field(default_factory=dict)  # name to sentence
    drift: tuple[FeatureDrift, ...] = ()
    unseen: tuple[UnseenClass, ...] = ()
    labels_until: datetime | None = None
    window_from: datetime | None = None
    drift_verdict: str = ""  # stable, drifted or insufficient evidence
    labels: int = 0  # that matured in the window, whoever predicted


@dataclass(frozen=True)
class WishSeen:
    """What a person asked for. `version` may be empty: then it is the candidate or the way back that is meant."""

    number: int
    kind: str
    version: str = ""
    who: str = ""


@dataclass(frozen=True)
class AnswerSeen:
    """How it stands with a pull request."""

    key: str
    state: Literal["open", "merged", "closed"]
    url: str = ""
    who: str = ""


@dataclass(frozen=True)
class DeliverySeen:
    """With gitops: whether the repository holds what the state wants. `known` names what the loop last saw there."""

    known: str = ""
    trouble: str = ""  # why it does not
    conflict: bool = False  # because somebody else changed it
    champion: str = ""  # the version that the repository serves, for a loop that remembers none
    answer: AnswerSeen | None = None


@dataclass(frozen=True)
class Observed:
    """Everything a turn saw, at `now`."""

    now: datetime
    training: RunSeen | None = None  # the run of state.training.run_key
    monitoring_run: RunSeen | None = None  # the run of state.monitoring.key
    monitoring: MonitoringSeen | None = None
    quality: Quality | None = None
    comparison: Comparison | None = None
    traffic: Mapping[str, Count] = field(default_factory=dict)  # the router's raw counters by version
    latency: Mapping[str, Latency] = field(default_factory=dict)  # by version, since the step began, from the log
    servers: Mapping[str, ServerSeen] = field(default_factory=dict)
    wishes: tuple[WishSeen, ...] = ()
    clock_went_backwards: bool = False
    delivery: DeliverySeen | None = None
    blind: str = ""  # why nobody can say how requests went: counters or logs are away, and what they say is not here

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the ledger."""
        return dict(encode(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Observed:
        """What `to_json` wrote; raises ValueError for anything that does not fit."""
        return decode(cls, data)
