"""What the parts of a document must not say against one another: found here, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import isfinite

from trimtab.spec.data_rules import columns, crossed, data
from trimtab.spec.delivery_rules import delivery
from trimtab.spec.document import LoopSpec, ModelLoop
from trimtab.spec.explain import Finding
from trimtab.spec.metrics import KNOWN
from trimtab.spec.problems import Loc, nearest, shown
from trimtab.spec.scope import Metric

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}")


def contradictions(loop: ModelLoop) -> Iterator[Finding]:
    """Everything that contradicts, in no particular order."""
    spec = loop.spec
    yield from _scope(spec)
    yield from data(spec.data)
    yield from columns(spec)
    yield from _quality(spec)
    yield from _release(spec)
    yield from _monitoring(spec)
    yield from _retraining(spec)
    yield from _rest(loop)


def _retraining(spec: LoopSpec) -> Iterator[Finding]:
    wanted, every = "schedule" in spec.retraining.causes, spec.retraining.every
    loc: Loc = ("spec", "retraining", "every")
    if wanted and every is None:
        yield Finding(
            loc, "`causes` has schedule, but `every` is missing", expected="a duration such as 30d", missing=True
        )
    if every is not None and not wanted:
        yield Finding(loc, "a schedule that nothing follows", expected="schedule among `causes`", of_key=True)


def _rest(loop: ModelLoop) -> Iterator[Finding]:
    """Durations that must not be nought, and names that go elsewhere."""
    spec = loop.spec
    durations = {
        ("training", "timeout"): spec.training.timeout,
        ("training", "window"): spec.training.window,
        ("serving", "limits", "timeout"): spec.serving.limits.timeout,
        ("release", "evidence", "longestWait"): spec.release.evidence.longest_wait,
        ("monitoring", "every"): spec.monitoring.every,
        ("monitoring", "window"): spec.monitoring.window,
        ("retraining", "every"): spec.retraining.every,
        ("retraining", "budget", "per"): spec.retraining.budget.per,
    }
    for path, value in durations.items():
        if value is not None and not value:
            yield Finding(("spec", *path), "no time at all", "'0s'", "a duration above nought")
    namespace, host = loop.metadata.namespace, spec.serving.host
    if namespace is not None and not _DNS_LABEL.fullmatch(namespace):
        expected = "at most 63 lower-case letters, digits and dashes"
        yield Finding(("metadata", "namespace"), "not the name of a namespace", shown(namespace), expected)
    if not _HOST.fullmatch(host):
        yield Finding(("spec", "serving", "host"), "not an address", shown(host), "one such as 127.0.0.1 or 0.0.0.0")


def _scope(spec: LoopSpec) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for index, metric in enumerate(spec.scope.metrics):
        loc: Loc = ("spec", "scope", "metrics", index)
        if metric.name in names:
            yield Finding((*loc, "name"), "the metric is named twice", shown(metric.name), "each metric once")
        names.setdefault(metric.name, index)
        yield from _promise(spec, metric, loc)
    if spec.scope.metrics and not any(metric.kind == "model" for metric in spec.scope.metrics):
        yield Finding(
            ("spec", "scope", "metrics"),
            "no model metric is named",
            expected=f"at least one of {', '.join(_computable(spec, 'model'))}: versions are compared by it",
        )


def _promise(spec: LoopSpec, metric: Metric, loc: Loc) -> Iterator[Finding]:
    known = KNOWN.get(metric.name)
    if metric.kind == "business":
        if known is not None:
            yield Finding((*loc, "kind"), f"{metric.name} is a {known.kind} metric", "business", known.kind)
    elif known is None:
        yield Finding(
            (*loc, "name"),
            f"trimtab cannot compute this {metric.kind} metric",
            shown(metric.name),
            f"one of {', '.join(_computable(spec, metric.kind))}, or `kind: business`",
            nearest(metric.name, _computable(spec, metric.kind)),
        )
    elif spec.scope.problem not in known.problems:
        expected = f"one of {', '.join(_computable(spec, metric.kind))}"
        yield Finding((*loc, "name"), f"not a metric of a {spec.scope.problem}", shown(metric.name), expected)
    elif known.kind != metric.kind:
        yield Finding((*loc, "kind"), f"{metric.name} is a {known.kind} metric", shown(metric.kind), known.kind)
    yield from crossed(metric.min, metric.max, loc)
    yield from _possible(metric.name, loc, min=metric.min, max=metric.max)


def _possible(name: str, loc: Loc, **bounds: float | None) -> Iterator[Finding]:
    """A bound that no value can reach or break, such as 83 for 83 percent."""
    known = KNOWN.get(name)
    for key, bound in bounds.items():
        if known is not None and bound is not None and not known.least <= bound <= known.most:
            expected = f"{known.least:g} to {known.most:g}" if isfinite(known.least) else f"at most {known.most:g}"
            if not isfinite(known.most):
                expected = f"at least {known.least:g}"
            yield Finding((*loc, key), f"{name} cannot be that", f"{bound:g}", expected)


def _computable(spec: LoopSpec, kind: str) -> list[str]:
    return [one.name for one in KNOWN.values() if spec.scope.problem in one.problems and kind in (one.kind, "business")]


def _quality(spec: LoopSpec) -> Iterator[Finding]:
    for index, gate in enumerate(spec.quality.gates):
        loc: Loc = ("spec", "quality", "gates", index)
        yield from _named(spec, gate.metric, (*loc, "metric"), ("model",))
        yield from crossed(gate.min, gate.max, loc)
        yield from _possible(gate.metric, loc, min=gate.min, max=gate.max)
        if gate.min is None and gate.max is None and gate.max_worse_than_champion is None:
            yield Finding(loc, "a gate without a bound", expected="`min`, `max` or `maxWorseThanChampion`")
    for index, part in enumerate(spec.quality.slices):
        yield from _possible(part.metric or spec.main_metric, ("spec", "quality", "slices", index), min=part.min)
        if part.metric:
            yield from _named(spec, part.metric, ("spec", "quality", "slices", index, "metric"), ("model",))


def _named(spec: LoopSpec, name: str, loc: Loc, kinds: Iterable[str]) -> Iterator[Finding]:
    """A gate or alarm may rest only on a metric that somebody promised."""
    kinds = tuple(kinds)
    promised = {metric.name: metric.kind for metric in spec.metrics}
    fitting = [one for one, kind in promised.items() if kind in kinds]
    if name not in promised:
        expected = f"one of {', '.join(fitting)}, or this one added to `scope.metrics`"
        yield Finding(loc, "scope names no such metric", shown(name), expected, nearest(name, fitting))
    elif promised[name] not in kinds:
        yield Finding(
            loc, f"a {promised[name]} metric cannot be used here", shown(name), f"one of {', '.join(fitting)}"
        )


def _release(spec: LoopSpec) -> Iterator[Finding]:
    policy = spec.release
    loc: Loc = ("spec", "release", "steps")
    for index, step in enumerate(policy.steps):
        if not 1 <= step <= 99:
            yield Finding(
                (*loc, index), "out of bounds", shown(step), "1 to 99 percent; all requests follow by themselves"
            )
    for index, (before, after) in enumerate(pairwise(policy.steps)):
        if after <= before:
            yield Finding((*loc, index + 1), f"the step before is {before}", shown(after), "rising steps")
    if policy.strategy == "shadow" and not policy.shadow:
        yield Finding(("spec", "release", "shadow"), "the strategy is shadow", "false", "true, or another strategy")
    blind = policy.strategy == "blue-green" and not policy.shadow
    if blind and (policy.evidence.least_requests or policy.evidence.least_labels):
        yield Finding(
            ("spec", "release", "shadow"),
            "blue-green without a shadow gives all requests to a version of which no evidence was seen",
            "false",
            "true; or strategy canary; or, if that is meant, evidence with leastRequests and leastLabels of 0",
        )
    if policy.strategy == "canary" and not policy.steps:
        yield Finding(loc, "a canary release without steps", expected="percentages such as [5, 25, 50]")
    yield from delivery(policy)
    if policy.roll_back_when.metric:
        yield from _named(spec, policy.roll_back_when.metric, ("spec", "release", "rollBackWhen", "metric"), ("model",))


def _monitoring(spec: LoopSpec) -> Iterator[Finding]:
    for index, alarm in enumerate(spec.monitoring.alarms):
        loc: Loc = ("spec", "monitoring", "alarms", index)
        yield from _named(spec, alarm.metric, (*loc, "metric"), ("model", "software", "data"))
        yield from crossed(alarm.min, alarm.max, loc)
        yield from _possible(alarm.metric, loc, min=alarm.min, max=alarm.max)
        if alarm.min is None and alarm.max is None:
            yield Finding(loc, "an alarm without a bound", expected="`min` or `max`")
