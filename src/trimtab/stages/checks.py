"""One gate, slice or comparison of a hold-out: a check with a verdict of three values and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from trimtab.decisions.observed import Estimate
from trimtab.errors import DataRefused
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.spec.quality import Gate, Slice
from trimtab.stages.metrics import estimate, value

Verdict = Literal["pass", "fail", "insufficient evidence"]
_MOST_SLICES = 50


@dataclass(frozen=True)
class Check:
    """One gate or slice with its verdict and a sentence."""

    name: str
    verdict: Verdict
    sentence: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    column: str = ""  # of a slice


@dataclass(frozen=True)
class Answers:
    """Labels (n,), predictions (n,) and, if known, the scores (n, k) of the classes."""

    truth: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray | None
    classes: Sequence[str] | None

    def where(self, chosen: np.ndarray) -> Answers:
        """The rows of a mask (n,)."""
        scores = self.scores[chosen] if self.scores is not None else None
        return Answers(self.truth[chosen], self.prediction[chosen], scores, self.classes)

    def estimate(self, metric: str, confidence: float) -> Estimate:
        """The metric over these rows; errors as for `metrics.estimate`."""
        return estimate(metric, self.truth, self.prediction, self.scores, self.classes, confidence)


def gates(spec: LoopSpec) -> tuple[Gate, ...]:
    """Those of `quality`, else one for every bound on a model metric that `scope` promises."""
    if spec.quality.gates:
        return spec.quality.gates
    bounded = [one for one in spec.metrics if one.min is not None or one.max is not None]
    return tuple(
        Gate(metric=one.name, min=one.min, max=one.max)
        for one in bounded
        if one.name in KNOWN and KNOWN[one.name].kind == "model"
    )


def judge(
    gate: Gate, spec: LoopSpec, measured: Mapping[str, Estimate], champion: Mapping[str, float], compared: bool
) -> Check:
    """The gate over what was measured; `compared` says that there is a champion, `champion` what was measured of it."""
    found = measured.get(gate.metric)
    if found is None:
        return Check(gate.metric, "insufficient evidence", f"{gate.metric} could not be measured")
    said, failed, unsure = [], False, not np.isfinite(found.value)
    if gate.min is not None:
        said.append(f"wanted at least {gate.min:g}")
        failed |= found.value < gate.min
    if gate.max is not None:
        said.append(f"wanted at most {gate.max:g}")
        failed |= found.value > gate.max
    if gate.max_worse_than_champion is not None and gate.metric in champion:
        worse = champion[gate.metric] - found.value
        failed |= (worse if KNOWN[gate.metric].higher_is_better else -worse) > gate.max_worse_than_champion
        said.append(
            f"champion {champion[gate.metric]:.4g} on the same rows, {gate.max_worse_than_champion:g} worse allowed"
        )
    elif gate.max_worse_than_champion is not None and compared:
        said.append("the champion's could not be measured on the same rows")
        unsure = True
    if found.n < spec.quality.least_rows:
        said.append(f"judged from {spec.quality.least_rows} rows")
        failed, unsure = False, True
    verdict: Verdict = "fail" if failed else "insufficient evidence" if unsure else "pass"
    sentence = f"{_shown(gate.metric, found)}: {', '.join(said) or 'no bound'}"
    return Check(gate.metric, verdict, sentence, found.value, found.low, found.high, found.n)


def _shown(metric: str, found: Estimate) -> str:
    return f"{metric} {found.value:.4g} ({found.low:.4g} to {found.high:.4g}, n {found.n})"


def against_baseline(
    spec: LoopSpec, answers: Answers, baseline: np.ndarray | None, shares: Mapping[str, float] | None = None
) -> list[Check]:
    """Always on: a version that is no better than knowing nothing does not serve, whatever the gates say.

    By the first model metric of scope: accuracy would refuse every useful version where one class is rare. `shares` are
    those of the classes in training, which somebody who knows nothing would give as probabilities.
    """
    if baseline is None:
        return []
    name, metric, n = "better than knowing nothing", _compared_by(spec), len(answers.truth)
    if metric == "calibration_error":
        said = "not compared with always saying the same: by calibration_error, who knows nothing can be perfect"
        return [Check(name, "pass", said, n=n)]
    constant, says = Answers(answers.truth, baseline, None, None), "saying the same"
    if metric == "log_loss" and (answers.scores is None or not shares):
        metric = "accuracy"
    elif metric == "log_loss" and shares:
        scores = np.tile(np.array(list(shares.values()), dtype=float), (n, 1))
        constant, says = Answers(answers.truth, baseline, scores, tuple(shares)), "giving the shares of the classes"
    try:
        got, known = (value(metric, one.truth, one.prediction, one.scores, one.classes) for one in (answers, constant))
    except DataRefused as error:
        return [Check(name, "insufficient evidence", str(error), n=n)]
    said = f"{metric} {got:.4g}, and {known:.4g} for always {says}"
    if n < spec.quality.least_rows:
        said = f"{said} (n {n}): judged from {spec.quality.least_rows} rows"
        return [Check(name, "insufficient evidence", said, got, n=n)]
    if not (np.isfinite(got) and np.isfinite(known)):
        return [Check(name, "insufficient evidence", f"{said}: not defined for these rows", n=n)]
    better = got > known if KNOWN[metric].higher_is_better else got < known
    return [Check(name, "pass" if better else "fail", said, got, n=n)]


def _compared_by(spec: LoopSpec) -> str:
    """The first model metric that scope names; accuracy or rmse where it names none."""
    usual = "accuracy" if spec.scope.problem == "classification" else "rmse"
    return next((one.name for one in spec.scope.metrics if one.kind == "model"), usual)


def slices(wanted: Slice, spec: LoopSpec, frame: pd.DataFrame, answers: Answers) -> list[Check]:
    """Each value of the column by itself; a slice fails only when it is surely below its bound."""
    if wanted.column not in frame:
        said = f"quality.slices: the rows have no column {wanted.column!r}"
        return [Check(wanted.column, "insufficient evidence", said, column=wanted.column)]
    metric = wanted.metric or spec.main_metric
    values = frame[wanted.column].astype("string").fillna("(missing)").to_numpy(dtype=object)
    names, counts = np.unique(values.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_SLICES]
    enough = max(1, int((counts[order] >= wanted.least_rows).sum()))
    confidence = 1 - (1 - spec.quality.confidence) / enough
    return [
        _slice(wanted, metric, str(names[index]), answers.where(values == names[index]), confidence) for index in order
    ]


def _slice(wanted: Slice, metric: str, name: str, answers: Answers, confidence: float) -> Check:
    title = f"{wanted.column}={name}"

    def check(verdict: Verdict, sentence: str, found: Estimate | None = None) -> Check:
        value, low, high = (found.value, found.low, found.high) if found else (None, None, None)
        return Check(title, verdict, sentence, value, low, high, len(answers.truth), wanted.column)

    try:
        found = answers.estimate(metric, confidence)
    except DataRefused as error:
        return check("insufficient evidence", f"{title}: {error}")
    shown = f"{title}: {_shown(metric, found)}"
    if found.n < wanted.least_rows:
        return check("insufficient evidence", f"{shown}: judged from {wanted.least_rows} rows", found)
    if not np.isfinite(found.value):
        return check("insufficient evidence", f"{shown}: not defined for these rows", found)
    if wanted.min is None:
        return check("pass", shown, found)
    surely_worse = found.high < wanted.min if KNOWN[metric].higher_is_better else found.low > wanted.min
    return check("fail" if surely_worse else "pass", f"{shown}: wanted {wanted.min:g}", found)
