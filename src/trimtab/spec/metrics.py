"""The metrics that trimtab can compute, so that gates and alarms can be checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

Kind = Literal["model", "software", "data"]


@dataclass(frozen=True)
class KnownMetric:
    """A computable metric: what it measures, for which problems, and which way is better."""

    name: str
    kind: Kind
    problems: tuple[str, ...]
    higher_is_better: bool
    meaning: str
    least: float = 0.0
    most: float = inf  # no value outside least..most is possible


_BOTH = ("classification", "regression")
_CLASSES = ("classification",)
_NUMBERS = ("regression",)

KNOWN: dict[str, KnownMetric] = {
    metric.name: metric
    for metric in (
        KnownMetric("accuracy", "model", _CLASSES, True, "share of rows whose predicted class is the label", most=1),
        KnownMetric("balanced_accuracy", "model", _CLASSES, True, "mean recall over the classes", most=1),
        KnownMetric("macro_f1", "model", _CLASSES, True, "mean F1 over the classes", most=1),
        KnownMetric("weighted_f1", "model", _CLASSES, True, "F1 weighted by class frequency", most=1),
        KnownMetric("log_loss", "model", _CLASSES, False, "mean negative log probability of the label"),
        KnownMetric(
            "calibration_error", "model", _CLASSES, False, "expected calibration error of the top class", most=1
        ),
        KnownMetric("mae", "model", _NUMBERS, False, "mean absolute error, in the label's unit"),
        KnownMetric("rmse", "model", _NUMBERS, False, "root mean squared error, in the label's unit"),
        KnownMetric("r2", "model", _NUMBERS, True, "share of the label's variance explained", -inf, 1),
        KnownMetric(
            "error_rate",
            "software",
            _BOTH,
            False,
            "share of requests not answered by the version they were sent to",
            most=1,
        ),
        KnownMetric("latency_p50_ms", "software", _BOTH, False, "median latency of an answer, milliseconds"),
        KnownMetric("latency_p99_ms", "software", _BOTH, False, "99th percentile latency of an answer, milliseconds"),
        KnownMetric("volume", "software", _BOTH, True, "predictions in the monitoring window"),
        KnownMetric("drift_share", "data", _BOTH, False, "share of the features in use that drifted", most=1),
        KnownMetric("prediction_drift", "data", _BOTH, False, "population stability index of the predictions"),
        KnownMetric(
            "unseen_class_share", "data", _CLASSES, False, "share of labels whose class the model never saw", most=1
        ),
    )
}

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "error_rate", "latency_p99_ms"),
    "regression": ("mae", "r2", "error_rate", "latency_p99_ms"),
}
