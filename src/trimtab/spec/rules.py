"""What the parts of a document must not say against one another: found here, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from trimtab.spec.data import Data
from trimtab.spec.document import LoopSpec, ModelLoop
from trimtab.spec.explain import Finding
from trimtab.spec.metrics import KNOWN
from trimtab.spec.problems import Loc, nearest, shown
from trimtab.spec.scope import Metric

_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def contradictions(loop: ModelLoop) -> Iterator[Finding]:
    """Everything that contradicts, in no particular order."""
    spec = loop.spec
    yield from _scope(spec)
    yield from _data(spec.data)
    yield from _columns(spec)
    yield from _quality(spec)
    yield from _release(spec)
    yield from _monitoring(spec)
    if "schedule" in spec.retraining.causes and spec.retraining.every is None:
        yield Finding(
            ("spec", "retraining", "every"),
            "`causes` has schedule, but `every` is missing",
            expected="a duration such as 30d",
            missing=True,
        )


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
    yield from _crossed(metric.min, metric.max, loc)


def _computable(spec: LoopSpec, kind: str) -> list[str]:
    return [one.name for one in KNOWN.values() if spec.scope.problem in one.problems and kind in (one.kind, "business")]


def _crossed(low: float | None, high: float | None, loc: Loc) -> Iterator[Finding]:
    if low is not None and high is not None and low > high:
        yield Finding((*loc, "min"), f"min {low:g} is above max {high:g}", expected="min at most max")


def _data(data: Data) -> Iterator[Finding]:
    loc: Loc = ("spec", "data")
    source, time = data.source, data.time
    if (source.path is None) == (source.query is None):
        said = "both `path` and `query` are given" if source.path is not None else "neither `path` nor `query` is given"
        yield Finding((*loc, "source"), said, expected="exactly one of them")
    if source.path is not None and "\x00" in source.path:
        yield Finding((*loc, "source", "path"), "not a path", shown(source.path))
    if _PASSWORD.search(source.url):
        yield Finding(
            (*loc, "source", "url"),
            "a password stands in the document",
            expected="the URL in an environment variable that `urlEnv` names",
        )
    if (time.column is None) == (time.year is None):
        said = (
            "both `column` and `year` are given" if time.column is not None else "neither `column` nor `year` is given"
        )
        yield Finding((*loc, "time"), said, expected="exactly one of them")
    if time.day is not None and time.month is None:
        yield Finding((*loc, "time", "day"), "`day` without `month`", expected="`month` too", of_key=True)
    if data.split.by == "entity" and data.entity is None:
        yield Finding((*loc, "split", "by"), "a split by entity needs `data.entity`", "'entity'", "the entity's column")
    for name, column in data.contract.items():
        yield from _crossed(column.min, column.max, (*loc, "contract", name))
        if column.domain and column.type in ("number", "integer", "boolean"):
            at = (*loc, "contract", name, "domain")
            yield Finding(
                at, f"a domain is for text, the type is {column.type}", expected="`min` and `max` for numbers"
            )


def _columns(spec: LoopSpec) -> Iterator[Finding]:
    """A column cannot be what is predicted and something else too."""
    data, label = spec.data, spec.data.label.column
    loc: Loc = ("spec", "data")
    others: list[tuple[Loc, str | None]] = [
        ((*loc, "id"), data.id),
        ((*loc, "entity"), data.entity),
        *(((*loc, "time", part), getattr(data.time, part)) for part in ("column", "year", "month", "day")),
        *(((*loc, "ignore", index), name) for index, name in enumerate(data.ignore)),
        *((("spec", "features", "include", index), name) for index, name in enumerate(spec.features.include)),
        *(
            (("spec", "features", "crosses", index, "columns", part), name)
            for index, cross in enumerate(spec.features.crosses)
            for part, name in enumerate(cross.columns)
        ),
    ]
    for at, name in others:
        if name == label:
            yield Finding(at, "this column is the label", shown(name), "another column")
    for index, name in enumerate(spec.features.include):
        if name in data.ignore:
            at = ("spec", "features", "include", index)
            yield Finding(at, "`data.ignore` leaves this column out", shown(name), "it in one of the two")


def _quality(spec: LoopSpec) -> Iterator[Finding]:
    for index, gate in enumerate(spec.quality.gates):
        loc: Loc = ("spec", "quality", "gates", index)
        yield from _named(spec, gate.metric, (*loc, "metric"), ("model",))
        yield from _crossed(gate.min, gate.max, loc)
        if gate.min is None and gate.max is None and gate.max_worse_than_champion is None:
            yield Finding(loc, "a gate without a bound", expected="`min`, `max` or `maxWorseThanChampion`")
    for index, part in enumerate(spec.quality.slices):
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
    if policy.strategy == "canary" and not policy.steps:
        yield Finding(loc, "a canary release without steps", expected="percentages such as [5, 25, 50]")
    if policy.roll_back_when.metric:
        yield from _named(spec, policy.roll_back_when.metric, ("spec", "release", "rollBackWhen", "metric"), ("model",))


def _monitoring(spec: LoopSpec) -> Iterator[Finding]:
    for index, alarm in enumerate(spec.monitoring.alarms):
        loc: Loc = ("spec", "monitoring", "alarms", index)
        yield from _named(spec, alarm.metric, (*loc, "metric"), ("model", "software", "data"))
        yield from _crossed(alarm.min, alarm.max, loc)
        if alarm.min is None and alarm.max is None:
            yield Finding(loc, "an alarm without a bound", expected="`min` or `max`")
    for name in ("every", "window"):
        if not getattr(spec.monitoring, name):
            yield Finding(("spec", "monitoring", name), "no time at all", "'0s'", "a duration above nought")
