"""Bounds of the champion's quality that hold however often one looks, within a stated budget of false alarms.

The interval of one window is right for one look. A loop looks at every turn, at windows that slide: at a quality that
is just as promised, some look of a year is nearly sure to be wrong. So from the champion's promotion on, each half of a
monitoring window starts a confidence sequence (`sequential`) over all labels since then, which holds at every look at
once, and is looked at for two windows. Each may be wrong with a chance of

    (1 - quality.confidence) * (half a window / 1 year) / (number of bounds)

so that the expected number of false alarms in a year of one champion is at most 1 - quality.confidence in all, however
often one looks. For accuracy this is exact; for other metrics it is asymptotic, with the deviation of the usual
interval. A hold-out is one look, so its own interval stands as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from scipy import stats

from trimtab.decisions import sequential
from trimtab.decisions.observed import Estimate
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN

_YEAR = timedelta(days=365)
_LOOKED_AT = 4  # sequences at once: one begins each half window, and is looked at for two windows


def starts(spec: LoopSpec, since: datetime, now: datetime) -> tuple[datetime, ...]:
    """Event times at which the sequences looked at now began, oldest first; the champion serves since `since`."""
    step, newest = _step(spec), now - spec.data.label.delay
    last = max(0, (newest - since) // step)
    return tuple(since + number * step for number in range(max(0, last - _LOOKED_AT + 1), last + 1))


def alpha(spec: LoopSpec) -> float:
    """The chance of error of one bound in one sequence."""
    bounded = [metric for name in names(spec) for metric in spec.metrics if metric.name == name]
    bounds = 1 + sum(bound is not None for metric in bounded for bound in (metric.min, metric.max))  # 1: the hold-out
    return (1 - spec.quality.confidence) * min(1.0, _step(spec) / _YEAR) / bounds


def names(spec: LoopSpec) -> tuple[str, ...]:
    """The metrics that may be a cause: those with a bound, and the main one."""
    models = [one for one in spec.metrics if one.name in KNOWN and KNOWN[one.name].kind == "model"]
    named = [one.name for one in models if (one.min, one.max) != (None, None) or one.name == spec.main_metric]
    return tuple(dict.fromkeys(named))


def worst(spec: LoopSpec, name: str, sequences: Iterable[Estimate]) -> Estimate | None:
    """Of the sequences, given as plain estimates, the one that is surest that quality fell, with its sure bounds."""
    enough = (one for one in sequences if one.n >= spec.monitoring.least_labels)
    found = [one for one in (bounded(spec, name, one) for one in enough) if one is not None]
    if not found:
        return None
    return min(found, key=lambda one: one.high) if KNOWN[name].higher_is_better else max(found, key=lambda one: one.low)


def _step(spec: LoopSpec) -> timedelta:
    return max(spec.monitoring.window, timedelta(seconds=2)) / 2


def bounded(spec: LoopSpec, name: str, found: Estimate) -> Estimate | None:
    """The estimate over a sequence's labels with bounds that hold at every look; None while nothing can be said."""
    if name == "accuracy":
        right = round(found.value * found.n)
        low, high = (bound(right, found.n, alpha(spec)) for bound in (sequential.share_low, sequential.share_high))
    else:
        z = float(stats.norm.isf((1 - spec.quality.confidence) / 2))
        sd = (found.high - found.low) / (2 * z) * math.sqrt(found.n)
        low, high = sequential.mean_bounds(found.value, sd, found.n, alpha(spec))
    return Estimate(found.value, low, high, found.n) if math.isfinite(low) and math.isfinite(high) else None
