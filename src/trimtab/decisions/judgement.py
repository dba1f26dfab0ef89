"""What a release's evidence says: errors, latency and quality of the candidate, each surely bad, surely good or open.

Every test holds at all looks together (`sequential`). The chance that a candidate which is no worse than allowed is
ever rolled back is at most 1 - `confidence` for quality, and the same for errors and for latency, over the whole
release: quality shares it between paired rows and canary steps, errors and latency between the steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimtab.decisions import sequential
from trimtab.decisions.observed import Comparison, Latency, Observed, Paired, Split
from trimtab.decisions.state import Count, Release
from trimtab.decisions.wording import counted, gained, percent
from trimtab.spec.release import Release as Policy

LEAST_FAILURES = 3  # fewer failures never end a release, however rare failures should be
LEAST_LATENCIES = 100  # a 99th percentile of fewer answers says nothing
SLOW_SHARE = 0.01  # p99 is above a limit exactly if more than this share of answers is slower


@dataclass(frozen=True)
class Traffic:
    """Requests of this step and how they went. `bad`: surely more failed than allowed; `open`: more, but not surely."""

    requests: int
    failures: int
    bad: bool
    open: bool

    @property
    def sentence(self) -> str:
        """Requests and failures."""
        share = f" ({percent(self.failures / self.requests)})" if self.failures else ""
        return f"{counted(self.requests, 'request')}, {self.failures} failed{share}"


@dataclass(frozen=True)
class Slowness:
    """Answers slower than the limit that stands for the p99 allowed."""

    latency: Latency
    bad: bool
    open: bool


@dataclass(frozen=True)
class Merit:
    """Candidate minus champion, above nought is better; `low` and `high` hold at all looks together."""

    labels: int
    estimate: float | None
    low: float
    high: float
    margin: float
    measure: str

    @property
    def worse(self) -> bool:
        """Surely worse than allowed."""
        return self.high < -self.margin

    @property
    def not_worse(self) -> bool:
        """Surely not worse than allowed."""
        return self.low >= -self.margin

    @property
    def looks_worse(self) -> bool:
        """Worse than allowed by the best guess."""
        return self.estimate is not None and self.estimate < -self.margin

    @property
    def helps(self) -> bool:
        """Better, by the best guess, by as much as would be too much the other way."""
        return self.estimate is not None and self.estimate > 0 and self.estimate >= self.margin

    @property
    def sentence(self) -> str:
        """The difference with its bounds and its evidence."""
        if self.estimate is None:
            return "no matured labels to compare on"
        bounds = ""
        if math.isfinite(self.low) and math.isfinite(self.high):
            bounds = f", surely {gained(self.low, self.measure)} to {gained(self.high, self.measure)}"
        return f"{self.measure} {gained(self.estimate, self.measure)} over {counted(self.labels, 'label')}{bounds}"

    def evidence(self) -> Mapping[str, Any]:
        """JSON-ready; bounds that say nothing are left out."""
        bounds = {"low": self.low, "high": self.high}
        known = {name: round(value, 6) for name, value in bounds.items() if math.isfinite(value)}
        estimate = {} if self.estimate is None else {"difference": round(self.estimate, 6)}
        return {"measure": self.measure, "labels": self.labels, "margin": self.margin, **estimate, **known}


def phases(policy: Policy) -> int:
    """Phases that a release can have: over these the chance of a false alarm is shared."""
    return len(policy.steps) + 1


def since(now: Count, then: Count) -> tuple[int, int]:
    """Requests and failures since a counter was read; a restarted router has counted from nought."""
    if now.epoch != then.epoch:
        return now.requests, now.failures
    return max(0, now.requests - then.requests), max(0, now.failures - then.failures)


def judge_traffic(policy: Policy, release: Release, observed: Observed) -> Traffic:
    """The candidate's requests of this step; the prediction log counts too, as it outlives the router's counters."""
    version = release.candidate
    requests, failures = since(observed.traffic.get(version, Count()), release.counted.get(version, Count()))
    logged = observed.latency.get(version, Latency()).n
    requests, allowed = max(requests, logged, failures), policy.roll_back_when.error_rate_above
    enough = failures >= LEAST_FAILURES
    alpha = (1 - policy.roll_back_when.confidence) / phases(policy)
    bad = enough and sequential.surely_above(failures, requests, allowed, alpha)
    return Traffic(requests, failures, bad, enough and failures > allowed * requests)


def slow_above_ms(policy: Policy, stable: Latency) -> float | None:
    """The latency in milliseconds that the candidate's p99 may reach; None while the stable version's is not known."""
    if stable.n < LEAST_LATENCIES:
        return None
    rule = policy.roll_back_when
    return max(rule.latency_floor_ms, rule.latency_ratio_above * stable.p99_ms)


def judge_slowness(policy: Policy, latency: Latency) -> Slowness:
    """Whether the candidate's p99 is above its limit: whether over 1 % of its answers are slower than that."""
    if latency.n < LEAST_LATENCIES or latency.slow_above_ms is None:
        return Slowness(latency, bad=False, open=False)
    alpha = (1 - policy.roll_back_when.confidence) / phases(policy)
    bad = sequential.surely_above(latency.slow, latency.n, SLOW_SHARE, alpha)
    return Slowness(latency, bad, latency.slow > SLOW_SHARE * latency.n)


def judge_merit(policy: Policy, comparison: Comparison | None) -> Merit:
    """Quality on matured labels: bounds are the narrowest of all sources, the best guess weighs them by precision."""
    if comparison is None:
        return Merit(0, None, -math.inf, math.inf, policy.roll_back_when.worse_by, "")
    alpha = 1 - policy.roll_back_when.confidence
    shadowed = alpha / 2 if policy.shadow and policy.strategy == "canary" else alpha
    stepwise = shadowed / max(1, len(policy.steps))
    parts = [_paired(comparison, shadowed), *(_split(comparison, split, stepwise) for split in comparison.splits)]
    known = [part for part in parts if part is not None and part.labels]
    weight = sum(1 / part.variance for part in known)
    return Merit(
        labels=sum(part.labels for part in known),
        estimate=sum(part.mean / part.variance for part in known) / weight if known else None,
        low=max((part.low for part in known), default=-math.inf),
        high=min((part.high for part in known), default=math.inf),
        margin=comparison.margin,
        measure=comparison.measure,
    )


@dataclass(frozen=True)
class _Part:
    """One source of evidence: the difference, the variance of that mean, its bounds."""

    labels: int
    mean: float
    variance: float
    low: float
    high: float


def _paired(comparison: Comparison, alpha: float) -> _Part | None:
    if comparison.paired is not None:
        return _paired_counts(comparison.paired, alpha)
    found = comparison.differences
    if found is None or found.n < 2:
        return None
    low, high = sequential.differences_bounds(found, alpha)
    return _Part(found.n, found.mean, max(found.sd**2 / found.n, 1e-12), low, high)


def _paired_counts(paired: Paired, alpha: float) -> _Part | None:
    if not paired.n:
        return None
    better, worse, n = paired.only_candidate_right, paired.only_stable_right, paired.n
    mean, low_high = (better - worse) / n, sequential.paired_bounds(paired, alpha)
    variance = ((better + worse + 1) / (n + 1) - mean**2) / n  # one row more that differs: never certain
    return _Part(n, mean, max(variance, 1e-12), *low_high)


def _split(comparison: Comparison, split: Split, alpha: float) -> _Part | None:
    labels, shares = min(split.stable.n, split.candidate.n), comparison.paired is not None
    if labels < (1 if shares else 2):
        return None
    low, high = sequential.split_bounds(split.stable, split.candidate, alpha, shares)
    variance = 0.0
    for side in (split.stable, split.candidate):
        guess = (side.total + 1) / (side.n + 2)
        variance += (guess * (1 - guess) if shares else side.variance) / side.n
    return _Part(labels, split.candidate.mean - split.stable.mean, max(variance, 1e-12), low, high)
