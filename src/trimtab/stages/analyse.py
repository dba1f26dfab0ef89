"""Judging a trained version on its hold-out: metrics, slices, calibration, the champion on the same rows, a verdict.

A verdict has three values. Too few rows are *insufficient evidence*, neither pass nor fail; a slice fails only when it
is surely below its bound, with the confidence corrected for the number of slices (Bonferroni, Dunn 1961).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import pandas as pd

from trimtab.decisions.observed import Estimate
from trimtab.errors import DataRefused
from trimtab.spec.document import LoopSpec
from trimtab.spec.metrics import KNOWN
from trimtab.stages.checks import Answers, Check, Verdict, against_baseline, judge
from trimtab.stages.checks import gates as gates_of
from trimtab.stages.checks import slices as slices_of
from trimtab.stages.metrics import confusion, estimate, reliability, value

__all__ = ["Check", "Estimate", "Evaluation", "analyse", "estimate"]

_MOST_NAMED = 5


class Prediction(Protocol):
    """Answers of another model to the same n rows: labels (n,), scores (n, k) of its classes or None."""

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def scores(self) -> np.ndarray | None: ...

    @property
    def classes(self) -> tuple[str, ...] | None: ...


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
    classes: Sequence[str] = ()  # those that the version can say; () if it does not tell them

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
    champion: Prediction | None = None,
    importance: Mapping[str, float] | None = None,
    lacking: str = "",
    shares: Mapping[str, float] | None = None,
) -> Evaluation:
    """Judge n hold-out rows: `frame` has their raw columns, `truth`, `prediction` (n,), `scores` (n, k) for `classes`.

    `baseline` (n,) is what somebody who knows nothing would say (the commonest class or the mean of the training rows),
    `shares` the probabilities that they would give to the classes.
    `champion` is what the present champion says to the same rows; `lacking` is a reason why that is not known.
    No rows at all are insufficient evidence.
    """
    names = [one.name for one in spec.metrics if one.name in KNOWN and KNOWN[one.name].kind == "model"]
    names += [gate.metric for gate in spec.quality.gates if gate.metric not in names]
    answers = Answers(truth, prediction, scores, classes)
    measured, unmeasured = _measure(names, answers, spec.quality.confidence)
    theirs = _of_champion(names, truth, champion)
    gates = [judge(gate, spec, measured, theirs, champion is not None) for gate in gates_of(spec)]
    gates += against_baseline(spec, answers, baseline, shares)
    slices = [one for wanted in spec.quality.slices for one in slices_of(wanted, spec, frame, answers)]
    verdict, reasons = _verdict(spec, gates, slices)
    classification = spec.scope.problem == "classification"
    labels, counts = confusion(truth, prediction) if classification else ([], np.zeros((0, 0)))
    return Evaluation(
        verdict=verdict,
        reasons=(*reasons, *unmeasured, *((lacking,) if lacking else ())),
        n=len(truth),
        metrics=measured,
        gates=tuple(gates),
        slices=tuple(slices),
        champion=theirs,
        confusion={"labels": labels, "counts": counts.astype(int).tolist()} if classification else {},
        calibration=reliability(truth, prediction, scores)
        if classification and scores is not None and len(truth)
        else (),
        importance=dict(importance or {}),
        classes=tuple(classes or ()) if classification else (),
    )


def _measure(names: Sequence[str], answers: Answers, confidence: float) -> tuple[dict[str, Estimate], list[str]]:
    found, missing = {}, []
    for name in names:
        try:
            found[name] = answers.estimate(name, confidence)
        except DataRefused as error:
            missing.append(str(error))
    return found, missing


def _of_champion(names: Sequence[str], truth: np.ndarray, champion: Prediction | None) -> dict[str, float]:
    """What can be measured of the champion, whose classes may be others."""
    if champion is None:
        return {}
    found = {}
    for name in names:
        with contextlib.suppress(DataRefused):
            found[name] = value(name, truth, champion.labels, champion.scores, champion.classes)
    return {name: one for name, one in found.items() if np.isfinite(one)}


def _verdict(spec: LoopSpec, gates: Sequence[Check], slices: Sequence[Check]) -> tuple[Verdict, list[str]]:
    """Of all checks; slices too small to judge are said, and if none of a promised column could be, it is no pass."""
    failed = [check.sentence for check in (*gates, *slices) if check.verdict == "fail"]
    if failed:
        return "fail", failed
    unsure = [check.sentence for check in gates if check.verdict == "insufficient evidence"]
    for wanted in spec.quality.slices:
        mine = [check for check in slices if check.column == wanted.column]
        if wanted.min is not None and all(check.verdict == "insufficient evidence" for check in mine):
            said = f": {mine[0].sentence}" if mine else ""
            unsure.append(f"no slice of {wanted.column} could be judged{said}")
    if unsure:
        return "insufficient evidence", unsure
    return "pass", [*(check.sentence for check in gates), *_unjudged(slices)]


def _unjudged(slices: Sequence[Check]) -> list[str]:
    """One sentence a column on the slices that had too few rows."""
    small: dict[str, list[str]] = {}
    for check in slices:
        if check.verdict == "insufficient evidence":
            small.setdefault(check.column, []).append(f"{check.name} (n {check.n})")
    return [
        f"not judged for want of evidence: {', '.join(names[:_MOST_NAMED])}"
        + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
        for names in small.values()
    ]


def _finite(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _finite(one) for key, one in item.items()}
    if isinstance(item, (list, tuple)):
        return [_finite(one) for one in item]
    return None if isinstance(item, float) and not np.isfinite(item) else item
