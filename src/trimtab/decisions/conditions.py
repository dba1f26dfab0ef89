"""Conditions that call for training, each with its evidence. Whether to act on one is for `retraining` to say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from trimtab.decisions import clock
from trimtab.decisions.lost import lasts, lost
from trimtab.decisions.observed import Estimate, MonitoringSeen, Observed, Quality
from trimtab.decisions.state import CauseKind, Handled, LoopState
from trimtab.decisions.wording import counted, lasting, percent
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.spec.retraining import Retraining as Policy

LEAST_IMPORTANCE = 0.05  # a feature counts as used from this share of all features' importance


@dataclass(frozen=True)
class Condition:
    """A condition that stands, with the time of its evidence."""

    kind: CauseKind
    subject: str
    sentence: str
    evidence: Mapping[str, Any]
    seen: datetime
    labels_until: datetime | None = None
    harmless: str = ""  # why it is no cause as yet


def conditions(spec: LoopSpec, state: LoopState, observed: Observed) -> Iterator[Condition]:
    """Every standing condition, the gravest first."""
    if state.champion is None:
        yield Condition("first", "first", "there is no version that serves yet", {}, observed.now)
        return
    why = lost(state, observed)
    if why and lasts(state, observed):
        sentence = f"version {state.champion} cannot be served ({why})"
        yield Condition("unserved", "unserved", sentence, {"server": why}, observed.now)
    quality, seen, causes = (
        _fresh_quality(spec, state, observed),
        _fresh_monitoring(state, observed),
        spec.retraining.causes,
    )
    if "quality" in causes and quality is not None:
        yield from _quality(spec, quality, observed.now)
    if "new-class" in causes and seen is not None:
        yield from _new_class(spec.retraining, seen)
    if "drift" in causes and seen is not None:
        yield from _drift(spec, seen, quality)
    if "schedule" in causes and spec.retraining.every is not None:
        yield from _schedule(spec.retraining.every, state, observed.now)


def _fresh_quality(spec: LoopSpec, state: LoopState, observed: Observed) -> Quality | None:
    """Quality of the present champion with enough labels; None else."""
    quality, seen = observed.quality, observed.monitoring
    if quality is None or (quality.version and quality.version != state.champion):
        return None
    if not quality.version and seen is not None and not _after(seen.time, _champion_since(state, observed)):
        return None
    least = spec.monitoring.least_labels
    enough = {name: live for name, live in quality.live.items() if live.n >= least}
    sure = quality.sure
    if sure is not None:
        sure = {name: found for name, found in sure.items() if found.n >= least}
    return replace(quality, live=enough, sure=sure) if enough else None


def _fresh_monitoring(state: LoopState, observed: Observed) -> MonitoringSeen | None:
    """The verdict, if it is about the present champion: one from before its promotion is about the version before."""
    seen = observed.monitoring
    return seen if seen is not None and _after(seen.time, _champion_since(state, observed)) else None


def _champion_since(state: LoopState, observed: Observed) -> datetime | None:
    return None if state.champion_since is None else clock.past(state, observed.now, state.champion_since)


def _after(time: datetime | None, other: datetime | None) -> bool:
    return other is None or (time is not None and time >= other)


def _promises(spec: LoopSpec, name: str) -> Iterator[tuple[float | None, float | None]]:
    for metric in spec.metrics:
        if metric.kind == "model" and metric.name == name:
            yield metric.min, metric.max


def _misses(value: float, low: float | None, high: float | None) -> bool:
    return (low is not None and value < low) or (high is not None and value > high)


def _quality(spec: LoopSpec, quality: Quality, now: datetime) -> Iterator[Condition]:
    seen = quality.labels_until or now
    for name, live in (quality.live if quality.sure is None else quality.sure).items():
        subject = f"quality:{name}"
        measured = (
            f"{name} is {live.value:.3g} ({live.low:.3g} to {live.high:.3g}) over {counted(live.n, 'matured label')}"
        )
        evidence = {"metric": name, "value": live.value, "low": live.low, "high": live.high, "n": live.n}
        for low, high in _promises(spec, name):
            if low is not None and live.high < low:
                sentence = f"{measured}, surely below the {low:g} promised"
                yield Condition("quality", subject, sentence, {**evidence, "min": low}, seen, quality.labels_until)
            if high is not None and live.low > high:
                sentence = f"{measured}, surely above the {high:g} promised"
                yield Condition("quality", subject, sentence, {**evidence, "max": high}, seen, quality.labels_until)
        by, own = spec.retraining.worse_than_holdout_by, quality.holdout.get(name)
        if name == spec.main_metric and own is not None and _gain(name, live, own)[1] < -by:
            sentence = f"{measured}, surely worse by more than {by:g} than the {own.value:.3g} of its own hold-out"
            evidence = {**evidence, "holdout": own.value, "holdout_n": own.n}
            yield Condition("quality", subject, sentence, evidence, seen, quality.labels_until)


def _gain(name: str, live: Estimate, own: Estimate) -> tuple[float, float]:
    """How much better live is than the hold-out, above nought is better: least and most.

    The square-and-add interval of a difference (Newcombe 1998, "Interval estimation for the difference between
    independent proportions", method 10).
    """
    below = (live.value - live.low, own.high - own.value)
    above = (live.high - live.value, own.value - own.low)
    difference = live.value - own.value
    low, high = difference - math.hypot(*below), difference + math.hypot(*above)
    return (low, high) if KNOWN[name].higher_is_better else (-high, -low)


def _new_class(policy: Policy, seen: MonitoringSeen) -> Iterator[Condition]:
    """Each class is a condition of its own: a set of them that changes from window to window is no new occasion."""
    for unseen in seen.unseen:
        if unseen.count < policy.new_class_least or unseen.share < policy.new_class_share:
            continue
        told = f"{unseen.label} ({counted(unseen.count, 'label')}, {percent(unseen.share)})"
        evidence = {"classes": [{"class": unseen.label, "count": unseen.count, "share": unseen.share}]}
        sentence = f"labels of a class that it never saw came: {told}"
        yield Condition("new-class", f"new-class:{unseen.label}", sentence, evidence, seen.time, seen.labels_until)


def _drift(spec: LoopSpec, seen: MonitoringSeen, quality: Quality | None) -> Iterator[Condition]:
    total = sum(max(0.0, one.importance) for one in seen.drift)
    used = [one for one in seen.drift if one.drifted and total > 0 and one.importance / total >= LEAST_IMPORTANCE]
    if not used:
        return
    used.sort(key=lambda one: -one.importance)
    told = ", ".join(f"{one.feature} ({percent(one.importance / total)} of what the model uses)" for one in used)
    evidence = {"features": [{"feature": one.feature, "importance": one.importance / total} for one in used]}
    harmless = _harmless(spec, seen, quality)
    labels = quality.labels_until if quality is not None else None
    yield Condition("drift", "drift", f"what it uses has drifted: {told}", evidence, seen.time, labels, harmless)


def _harmless(spec: LoopSpec, seen: MonitoringSeen, quality: Quality | None) -> str:
    """Why drift does no harm: labels of the same traffic, its later half too, show that quality surely holds."""
    name = spec.main_metric
    live = quality.live.get(name) if quality is not None else None
    if quality is None or live is None or quality.rows_until is None:
        return ""
    promised = [bound for bounds in _promises(spec, name) for bound in bounds if bound is not None]
    broken = any(_misses(end, low, high) for end in (live.low, live.high) for low, high in _promises(spec, name))
    own, by = quality.holdout.get(name), spec.retraining.worse_than_holdout_by
    held = own is not None and _gain(name, live, own)[0] >= -by
    covered = quality.rows_until >= seen.time - spec.monitoring.window / 2
    if broken or not covered or not (held or (own is None and promised)):
        return ""
    return f"labels of the same traffic show no harm: {name} {live.value:.3g} over {counted(live.n, 'label')}"


def _schedule(every: timedelta, state: LoopState, now: datetime) -> Iterator[Condition]:
    last = state.last_training or state.champion_since
    if last is None:
        return
    last = clock.past(state, now, last)
    if now - last < every:
        return
    sentence = f"{lasting(every)} have passed since the last training: the schedule asks for one"
    yield Condition("schedule", "schedule", sentence, {"due": (last + every).isoformat()}, now)


def gone(spec: LoopSpec, state: LoopState, observed: Observed, handled: Handled) -> bool:
    """Whether newer evidence shows that the condition is over, by the best guess: to want surety would never end it."""
    kind, _, name = handled.subject.partition(":")
    if kind == "unserved":
        server = observed.servers.get(state.champion or "")
        return server is not None and server.state == "ready"
    if kind == "quality":
        quality = _fresh_quality(spec, state, observed)
        live = quality.live.get(name) if quality is not None else None
        if (
            quality is None
            or live is None
            or not _after(quality.labels_until, clock.past(state, observed.now, handled.started))
        ):
            return False
        own, sign = quality.holdout.get(name), 1 if KNOWN[name].higher_is_better else -1
        worse = own is not None and sign * (live.value - own.value) < -spec.retraining.worse_than_holdout_by
        below_own = worse and name == spec.main_metric
        return not below_own and not any(_misses(live.value, low, high) for low, high in _promises(spec, name))
    seen = _fresh_monitoring(state, observed)
    if seen is None or not seen.time > clock.past(state, observed.now, handled.started):
        return False
    if kind == "drift":  # too little traffic to judge is no sign that it stopped
        return seen.drift_verdict == "stable"
    enough = seen.labels >= spec.monitoring.least_labels
    return kind == "new-class" and enough and not any(unseen.label == name for unseen in seen.unseen)
