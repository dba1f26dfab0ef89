"""CEL rules of the CRD: what types cannot say, so that the API server refuses it too, with a sentence.

Paths are those of the schema: `[]` an item of a list, `{}` a value of a mapping. Lists that a rule goes through are
bounded, because the API server refuses rules whose cost it cannot bound. What rests on data or on Python (an encoding's
name, a file) is left to `trimtab validate` and to the operator's first look.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trimtab.spec.metrics import DEFAULT_METRICS, KNOWN

Rule = tuple[str, str]  # the expression over `self`, the sentence when it is false

MOST_METRICS = 100
LONGEST_NAME = 128

_BUSINESS = "has({0}.kind) && {0}.kind == 'business'"
_MIN_MAX: Rule = ("!has(self.min) || !has(self.max) || self.min <= self.max", "min must be at most max")
_SECRET = "(?i)[?&;](password|passwd|pwd|token|secret)="  # noqa: S105 - it finds secrets
_LONGER_THAN_NOUGHT: Rule = ("self.matches('[1-9]')", "must be longer than no time at all")


def _names(**wanted: str) -> str:
    """A CEL list of known metrics: of one `kind`, or of one `problem`."""
    found = [
        one.name
        for one in KNOWN.values()
        if wanted.get("kind", one.kind) == one.kind and wanted.get("problem", one.problems[0]) in one.problems
    ]
    return _list(found)


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


def _promised(name: str) -> str:
    """That `name` is one of scope.metrics, or with none there one of the problem's own."""
    own = " || ".join(
        f"(self.scope.problem == '{problem}' && {name} in {_list(names)})" for problem, names in DEFAULT_METRICS.items()
    )
    none = "!has(self.scope.metrics) || size(self.scope.metrics) == 0"
    return f"(({none}) ? ({own}) : self.scope.metrics.exists(metric, metric.name == {name}))"


def _each_promised(path: str) -> str:
    """That the metric of every item of the optional list `path` is promised."""
    parent = path.rpartition(".")[0]
    return f"!has({parent}) || !has({path}) || {path}.all(one, {_promised('one.metric')})"


def _not_the_label(column: str) -> Rule:
    said = f"{column} must not be the column that is predicted"
    return f"!has(self.{column}) || self.{column} != self.label.column", said


_SOURCE: tuple[Rule, ...] = (
    ("has(self.path) != has(self.query)", "give exactly one of path and query"),
    (
        "!has(self.path) || !self.path.matches('^s3://[^/]*@')",
        "a secret must not stand in the document; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    ),
    ("!has(self.format) || has(self.path)", "format goes with path only"),
    ("!has(self.urlEnv) || has(self.query)", "urlEnv goes with query only"),
    (
        "!has(self.urlEnv) || !self.urlEnv.matches('^(TRIMTAB|AWS|MLFLOW)_')",
        "urlEnv must not name a variable of trimtab and its stores (TRIMTAB_*, AWS_*, MLFLOW_*)",
    ),
    ("!has(self.url) || self.url == 'duckdb://' || has(self.query)", "url goes with query only"),
    ("!has(self.url) || self.url == 'duckdb://' || !has(self.urlEnv)", "give url or urlEnv, not both"),
    (
        f"!has(self.url) || !(self.url.matches('://([^/@:][^@:]*)?:[^@]+@') || self.url.matches('{_SECRET}'))",
        "a password must not stand in the document; put the URL into a variable that urlEnv names",
    ),
)
_TIME: tuple[Rule, ...] = (
    ("has(self.column) != has(self.year)", "give exactly one of column and year"),
    ("!has(self.month) || has(self.year)", "month goes with year"),
    ("!has(self.day) || has(self.month)", "day goes with month"),
    ("!has(self.format) || has(self.column)", "format goes with column"),
    (
        "!has(self.month) || !has(self.year) || "
        "self.month != self.year && (!has(self.day) || !(self.day in [self.month, self.year]))",
        "year, month and day are columns of their own",
    ),
)
_CONTRACT: tuple[Rule, ...] = (
    _MIN_MAX,
    (
        "!has(self.domain) || size(self.domain) == 0 || !has(self.type) || self.type == 'string'",
        "a domain is for strings; use min and max for numbers",
    ),
    (
        "!(has(self.min) || has(self.max)) || ((!has(self.domain) || size(self.domain) == 0) && "
        "!(has(self.type) && self.type in ['string', 'boolean']))",
        "min and max are for numbers; use domain for strings",
    ),
)
_DATA: tuple[Rule, ...] = (
    (
        "!has(self.split) || !has(self.split.by) || self.split.by != 'entity' || has(self.entity)",
        "a split by entity needs entity",
    ),
    _not_the_label("id"),
    _not_the_label("entity"),
    ("!has(self.time.column) || self.time.column != self.label.column", "the label cannot also be the event time"),
    ("!has(self.ignore) || !(self.label.column in self.ignore)", "the label cannot be ignored"),
)
_METRIC: tuple[Rule, ...] = (
    _MIN_MAX,
    (
        f"({_BUSINESS.format('self')}) != (self.name in {_names()})",
        "trimtab cannot compute this metric (docs/loop-yaml.md lists those it can); others need kind: business",
    ),
    *(
        (
            f"!(self.name in {_names(kind=kind)}) || !has(self.kind) || self.kind == '{kind}'",
            f"this is a {kind} metric: leave kind out, or set kind: {kind}",
        )
        for kind in ("model", "software", "data")
    ),
)
_SCOPE: tuple[Rule, ...] = (
    (
        "!has(self.metrics) || size(self.metrics) == 0 || "
        f"self.metrics.exists(metric, metric.name in {_names(kind='model')})",
        "name at least one model metric: versions are compared by it",
    ),
    *(
        (
            f"self.problem != '{problem}' || !has(self.metrics) || "
            f"self.metrics.all(metric, ({_BUSINESS.format('metric')}) || metric.name in {_names(problem=problem)})",
            f"a metric is named that a {problem} does not have",
        )
        for problem in ("classification", "regression")
    ),
)
_COMPARED = "self.release.rollBackWhen.metric"
_SPEC: tuple[Rule, ...] = (
    (_each_promised("self.quality.gates"), "a gate must rest on a metric that scope.metrics names"),
    (_each_promised("self.monitoring.alarms"), "an alarm must rest on a metric that scope.metrics names"),
    (
        f"!has(self.release) || !has(self.release.rollBackWhen) || !has({_COMPARED}) || {_COMPARED} == '' || "
        f"({_COMPARED} in {_names(kind='model')} && {_promised(_COMPARED)})",
        "versions can be compared only by a model metric that scope.metrics names",
    ),
    (
        "!has(self.features) || !has(self.features.include) || !(self.data.label.column in self.features.include)",
        "the label cannot be a feature",
    ),
)
_RELEASE: tuple[Rule, ...] = (
    ("!has(self.steps) || self.steps.isSorted()", "steps must rise"),
    ("self.strategy != 'shadow' || self.shadow", "the strategy is shadow: shadow cannot be false"),
    (
        "self.strategy != 'blue-green' || self.shadow || has(self.evidence) && has(self.evidence.leastRequests) && "
        "has(self.evidence.leastLabels) && self.evidence.leastRequests == 0 && self.evidence.leastLabels == 0",
        "blue-green without a shadow promotes on no evidence: if that is meant, set evidence.leastRequests and "
        "evidence.leastLabels to 0",
    ),
    ("self.strategy != 'canary' || !has(self.steps) || size(self.steps) > 0", "a canary needs steps"),
    ("(self.delivery == 'gitops') == has(self.gitops)", "delivery: gitops and the section gitops go together"),
)
_SCHEDULE: Rule = (
    "('schedule' in self.causes) == has(self.every)",
    "every and the cause schedule go together: give both or neither",
)

RULES: dict[str, tuple[Rule, ...]] = {
    "spec": _SPEC,
    "spec.scope": _SCOPE,
    "spec.scope.metrics[]": _METRIC,
    "spec.data": _DATA,
    "spec.data.source": _SOURCE,
    "spec.data.time": _TIME,
    "spec.data.contract{}": _CONTRACT,
    "spec.quality.gates[]": (
        _MIN_MAX,
        ("has(self.min) || has(self.max) || has(self.maxWorseThanChampion)", "a gate needs a bound"),
        (f"self.metric in {_names(kind='model')}", "a gate rests on a model metric"),
    ),
    "spec.release": _RELEASE,
    "spec.monitoring.alarms[]": (_MIN_MAX, ("has(self.min) || has(self.max)", "an alarm needs min or max")),
    "spec.retraining": (_SCHEDULE,),
    **dict.fromkeys(
        (
            "spec.training.timeout",
            "spec.training.window",
            "spec.serving.limits.timeout",
            "spec.release.evidence.longestWait",
            "spec.monitoring.every",
            "spec.monitoring.window",
            "spec.retraining.every",
            "spec.retraining.budget.per",
        ),
        (_LONGER_THAN_NOUGHT,),
    ),
}

_PLAIN_PATH = "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$"  # no option, nothing hidden, no way up
_LIST: dict[str, Any] = {"maxItems": MOST_METRICS}
_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}
_SAYS_SOMETHING: dict[str, Any] = {"pattern": r"\S"}
MORE: dict[str, dict[str, Any]] = {
    "spec.scope.metrics": {**_LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    "spec.scope.metrics[].name": {"maxLength": LONGEST_NAME},
    "spec.quality.gates": _LIST,
    "spec.quality.gates[].metric": {"maxLength": LONGEST_NAME},
    "spec.quality.slices": _LIST,
    "spec.monitoring.alarms": _LIST,
    "spec.monitoring.alarms[].metric": {"maxLength": LONGEST_NAME},
    "spec.data.contract": {"maxProperties": 5000},
    "spec.data.ignore": {"maxItems": 5000},
    "spec.data.ignore[]": {"maxLength": 256},
    "spec.data.contract{}.domain": {"maxItems": 10000},
    "spec.data.label.column": {"maxLength": 256},
    "spec.data.source.path": _SAYS_SOMETHING,
    "spec.data.source.query": _SAYS_SOMETHING,
    "spec.data.source.url": {"maxLength": 2048, "pattern": r"^[A-Za-z][A-Za-z0-9_+.-]*://"},
    "spec.data.source.urlEnv": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
    **{
        f"spec.data.{column}": {"maxLength": 256, **_SAYS_SOMETHING}
        for column in ("id", "entity", "time.column", "time.year", "time.month", "time.day")
    },
    "spec.features.include": {**_SET, "maxItems": 5000},
    "spec.features.include[]": {"maxLength": 256},
    "spec.release.rollBackWhen.metric": {"maxLength": LONGEST_NAME},
    "spec.features.crosses[].columns": _SET,
    "spec.features.timeParts": _SET,
    "spec.release.steps": {"maxItems": 99, "x-kubernetes-list-type": "set"},
    "spec.release.steps[]": {"minimum": 1, "maximum": 99},
    "spec.release.gitops.repository": {
        "pattern": r"^(https?|git)://[^@\s?#]+$|^ssh://[^:@\s]*@?[^@\s?#]+$|^file:///\S+$"
    },
    "spec.release.gitops.branch": {"pattern": _PLAIN_PATH},
    "spec.release.gitops.path": {"pattern": f"^$|{_PLAIN_PATH}"},
    "spec.retraining.causes": {"maxItems": 16},
    "spec.serving.host": {"pattern": r"^[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}$"},
}
DECIDED_LATER = frozenset({"spec.scope.metrics[].kind"})  # its default rests on the metric's name


def validations(path: str) -> list[dict[str, str]]:
    """The rules of a schema's node as Kubernetes writes them."""
    return [{"rule": rule, "message": message} for rule, message in RULES.get(path, ())]
