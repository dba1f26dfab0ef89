"""Judging a trained version on its hold-out: metrics, slices, calibration, the champion on the same rows, and a verdict.

A verdict has three values. Too few rows are *insufficient evidence*, neither pass nor fail; a slice fails only when it is
surely below its bound, with the confidence corrected for the number of slices (Bonferroni, Dunn 1961).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from trimtab.errors import DataRefused
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.spec.quality import Gate, Slice
from trimtab.stages.metrics import Estimate, confusion, estimate, reliability, value

__all__ = ["Check", "Estimate", "Evaluation", "analyse", "estimate"]

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


@dataclass(frozen=True)
class Evaluation:
    """The evidence for a version; `to_json` is what the registry keeps."""

    verdict: Verdict
    reasons: tuple[str, ...]
    n: int
    metrics: Mapping[str, Estimate]
    gates: tuple[Check, ...] = ()
    slices: tuple[Check, ...] = ()
    champion: Mapping[str, float] = field(default_factory=dict)
    confusion: Mapping[str, Any] = field(default_factory=dict)
    calibration: Sequence[Mapping[str, float]] = ()
    importance: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a bound that is not finite becomes None."""
        return dict(_finite(asdict(self)))


def analyse(
    spec: LoopSpec,
    frame: pd.DataFrame,
    truth: np.ndarray,
    prediction: np.ndarray,
    scores: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    baseline: np.ndarray | None = None,
    champion_prediction: np.ndarray | None = None,
    importance: Mapping[str, float] | None = None,
) -> Evaluation:
    """Judge n hold-out rows: `frame` has their raw columns, `truth`, `prediction` (n,), `scores` (n, k) for `classes`.

    `baseline` (n,) is what somebody who knows nothing would say (the commonest class or the mean of the training rows).
    `champion_prediction` (n,) is the present champion's on the same rows.
    """
    names = [one.name for one in spec.metrics if one.name in KNOWN and KNOWN[one.name].kind == "model"]
    names += [gate.metric for gate in spec.quality.gates if gate.metric not in names]
    measured, unmeasured = _measure(names, truth, prediction, scores, classes, spec.quality.confidence)
    champion = _of_champion(names, truth, champion_prediction)
    gates = [_judge(gate, spec, measured, champion) for gate in _gates(spec)]
    gates += _against_baseline(spec, truth, prediction, baseline)
    slices = [one for wanted in spec.quality.slices for one in _slices(wanted, spec, frame, truth, prediction)]
    verdict, reasons = _verdict(gates, slices)
    classification = spec.scope.problem == "classification"
    labels, counts = confusion(truth, prediction) if classification else ([], np.zeros((0, 0)))
    return Evaluation(
        verdict=verdict,
        reasons=(*reasons, *unmeasured),
        n=len(truth),
        metrics=measured,
        gates=tuple(gates),
        slices=tuple(slices),
        champion=champion,
        confusion={"labels": labels, "counts": counts.astype(int).tolist()} if classification else {},
        calibration=reliability(truth, prediction, scores) if classification and scores is not None else (),
        importance=dict(importance or {}),
    )


def _measure(
    names: Sequence[str],
    truth: np.ndarray,
    prediction: np.ndarray,
    scores: np.ndarray | None,
    classes: Sequence[str] | None,
    confidence: float,
) -> tuple[dict[str, Estimate], list[str]]:
    found, missing = {}, []
    for name in names:
        try:
            found[name] = estimate(name, truth, prediction, scores, classes, confidence)
        except DataRefused as error:
            missing.append(str(error))
    return found, missing


def _of_champion(names: Sequence[str], truth: np.ndarray, prediction: np.ndarray | None) -> dict[str, float]:
    if prediction is None:
        return {}
    plain = [name for name in names if name not in ("log_loss", "calibration_error")]
    return {name: value(name, truth, prediction) for name in plain}


def _gates(spec: LoopSpec) -> tuple[Gate, ...]:
    if spec.quality.gates:
        return spec.quality.gates
    bounded = [one for one in spec.metrics if one.min is not None or one.max is not None]
    return tuple(
        Gate(metric=one.name, min=one.min, max=one.max)
        for one in bounded
        if one.name in KNOWN and KNOWN[one.name].kind == "model"
    )


def _judge(gate: Gate, spec: LoopSpec, measured: Mapping[str, Estimate], champion: Mapping[str, float]) -> Check:
    found = measured.get(gate.metric)
    if found is None:
        return Check(gate.metric, "insufficient evidence", f"{gate.metric} could not be measured")
    shown = f"{gate.metric} {found.value:.4g} ({found.low:.4g} to {found.high:.4g}, n {found.n})"
    verdict: Verdict = "pass"
    said = []
    if gate.min is not None:
        said.append(f"wanted at least {gate.min:g}")
        verdict = "fail" if found.value < gate.min else verdict
    if gate.max is not None:
        said.append(f"wanted at most {gate.max:g}")
        verdict = "fail" if found.value > gate.max else verdict
    if gate.max_worse_than_champion is not None and gate.metric in champion:
        worse = champion[gate.metric] - found.value
        worse = worse if KNOWN[gate.metric].higher_is_better else -worse
        said.append(
            f"champion {champion[gate.metric]:.4g} on the same rows, {gate.max_worse_than_champion:g} worse allowed"
        )
        verdict = "fail" if worse > gate.max_worse_than_champion else verdict
    if found.n < spec.quality.least_rows:
        said.append(f"judged from {spec.quality.least_rows} rows")
        verdict = "insufficient evidence"
    return Check(
        gate.metric, verdict, f"{shown}: {', '.join(said) or 'no bound'}", found.value, found.low, found.high, found.n
    )


def _against_baseline(
    spec: LoopSpec, truth: np.ndarray, prediction: np.ndarray, baseline: np.ndarray | None
) -> list[Check]:
    """Always on: a version that is no better than knowing nothing does not serve, whatever the gates say."""
    if baseline is None:
        return []
    metric = "accuracy" if spec.scope.problem == "classification" else "rmse"
    got, known = value(metric, truth, prediction), value(metric, truth, baseline)
    better = got > known if KNOWN[metric].higher_is_better else got < known
    said = f"{metric} {got:.4g}, and {known:.4g} for always saying the same"
    return [Check("better than knowing nothing", "pass" if better else "fail", said, got, n=len(truth))]


def _slices(
    wanted: Slice, spec: LoopSpec, frame: pd.DataFrame, truth: np.ndarray, prediction: np.ndarray
) -> list[Check]:
    if wanted.column not in frame:
        return [
            Check(wanted.column, "insufficient evidence", f"quality.slices: the rows have no column {wanted.column!r}")
        ]
    metric = wanted.metric or spec.main_metric
    values = frame[wanted.column].astype("string").fillna("(missing)").to_numpy(dtype=object)
    names, counts = np.unique(values.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_SLICES]
    enough = max(1, int((counts[order] >= wanted.least_rows).sum()))
    confidence = 1 - (1 - spec.quality.confidence) / enough
    return [
        _slice(wanted, metric, str(names[index]), values == names[index], truth, prediction, confidence)
        for index in order
    ]


def _slice(
    wanted: Slice,
    metric: str,
    name: str,
    chosen: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    confidence: float,
) -> Check:
    found = estimate(metric, truth[chosen], prediction[chosen], confidence=confidence)
    shown = f"{wanted.column}={name}: {metric} {found.value:.4g} ({found.low:.4g} to {found.high:.4g}, n {found.n})"
    where = (found.value, found.low, found.high, found.n)
    title = f"{wanted.column}={name}"
    if found.n < wanted.least_rows:
        return Check(title, "insufficient evidence", f"{shown}: judged from {wanted.least_rows} rows", *where)
    if wanted.min is None:
        return Check(title, "pass", shown, *where)
    surely_worse = found.high < wanted.min if KNOWN[metric].higher_is_better else found.low > wanted.min
    return Check(title, "fail" if surely_worse else "pass", f"{shown}: wanted {wanted.min:g}", *where)


def _verdict(gates: Sequence[Check], slices: Sequence[Check]) -> tuple[Verdict, list[str]]:
    failed = [check.sentence for check in (*gates, *slices) if check.verdict == "fail"]
    if failed:
        return "fail", failed
    unsure = [check.sentence for check in gates if check.verdict == "insufficient evidence"]
    if unsure:
        return "insufficient evidence", unsure
    return "pass", [check.sentence for check in gates]


def _finite(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _finite(one) for key, one in item.items()}
    if isinstance(item, (list, tuple)):
        return [_finite(one) for one in item]
    return None if isinstance(item, float) and not np.isfinite(item) else item
