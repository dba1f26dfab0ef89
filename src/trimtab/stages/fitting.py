"""From split rows to a judged bundle: the part of training that components and tests share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from trimtab import __version__
from trimtab.errors import Refused
from trimtab.spec.document import LoopSpec, Metadata
from trimtab.stages import bundle, features, train
from trimtab.stages.analyse import Evaluation, analyse
from trimtab.stages.bundle import Manifest, Prediction, Predictor
from trimtab.stages.contract import Contract
from trimtab.stages.features import Transform
from trimtab.stages.identity import LABEL, PREDICTION, SCORES, TIME

_MOST_REFERENCE_ROWS = 5000
_IMPORTANCE_ROWS = 400


class Document(Protocol):
    """A ModelLoop, or anything with its name and sections."""

    @property
    def metadata(self) -> Metadata: ...

    @property
    def spec(self) -> LoopSpec: ...


@dataclass(frozen=True)
class Fitted:
    """A model with its transform and the contract it was fitted under."""

    predictor: Predictor
    train: pd.DataFrame


def fit(document: Document, contract: Contract, rows: pd.DataFrame, as_of: str) -> Fitted:
    """Fit transform and estimator on the training rows (raw columns, label, `_id`, `_time`)."""
    spec = document.spec
    transform = features.fit(spec.features, contract, rows)
    estimator = train.fit(spec.training, spec.scope.problem, transform.apply(rows), target(document, rows))
    return assemble(document, contract, transform, estimator, rows, as_of)


def assemble(
    document: Document,
    contract: Contract,
    transform: Transform,
    estimator: Any,
    rows: pd.DataFrame,
    as_of: str,
    code: str = __version__,
) -> Fitted:
    """What `fit` returns, from parts that were fitted on these rows by the code `code` (see `code_version`).

    Raises Refused when requests may lack a number that is not imputed and that the estimator cannot do without.
    """
    spec = document.spec
    lacking = [
        one.column for one in transform.numbers if one.fill is None and not contract.by_name[one.column].required
    ]
    if lacking and not train.takes_missing(estimator):
        raise Refused(
            f"features.numeric.impute: none leaves {', '.join(lacking)} missing when a request lacks it, and "
            f"{type(estimator).__name__} cannot answer then. Use median, mean or zero, or say maxMissingShare: 0"
        )
    classes = tuple(str(name) for name in estimator.classes_) if spec.scope.problem == "classification" else None
    manifest = Manifest(
        name=document.metadata.name,
        problem=spec.scope.problem,
        label=spec.data.label.column,
        label_type=_label_type(contract),
        classes=classes,
        columns=transform.columns,
        estimator=type(estimator).__name__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        as_of=as_of,
        data_version=data_version(rows),
        code_version=code,
    )
    return Fitted(Predictor(manifest, contract, transform, estimator), rows)


def judge(
    document: Document, fitted: Fitted, holdout: pd.DataFrame, champion: Predictor | None, lacking: str = ""
) -> Evaluation:
    """Evaluate on the hold-out, beside the champion (`lacking` says why not) and beside knowing nothing."""
    truth, known = target(document, holdout), target(document, fitted.train)
    answer = fitted.predictor.predict(holdout)
    shares = None
    if document.spec.scope.problem == "classification":
        names, counts = np.unique(known, return_counts=True)
        baseline = np.full(len(truth), names[counts.argmax()], dtype=object)
        shares = {str(name): float(count) / len(known) for name, count in zip(names, counts, strict=True)}
    else:
        baseline = np.full(len(truth), known.mean())
    return analyse(
        document.spec,
        holdout,
        truth,
        answer.labels,
        answer.scores,
        answer.classes,
        baseline=baseline,
        champion=champion.predict(holdout) if champion is not None else None,
        importance=importance(document, fitted.predictor, holdout),
        lacking=lacking,
        shares=shares,
    )


def pack(folder: Path, fitted: Fitted, holdout: pd.DataFrame, evaluation: Evaluation) -> str:
    """Write the bundle; returns its digest."""
    predictor = fitted.predictor
    return bundle.write(
        folder,
        predictor.manifest,
        predictor.contract,
        predictor.transform,
        predictor.estimator,
        _kept(predictor, fitted.train),
        _kept(predictor, holdout),
        evaluation.to_json(),
    )


def importance(document: Document, predictor: Predictor, holdout: pd.DataFrame) -> Mapping[str, float]:
    """Permutation importance of each raw column (Breiman 2001, section 10): how much worse without it, never below 0.

    Classification: the fall of accuracy; regression: the rise of the mean absolute error over the label's deviation.
    """
    rows = holdout.iloc[:: max(1, len(holdout) // _IMPORTANCE_ROWS)].reset_index(drop=True)
    truth = target(document, rows)
    generator = np.random.default_rng(document.spec.training.seed)

    def loss(answer: Prediction) -> float:
        if document.spec.scope.problem == "classification":
            return float((answer.labels != truth).mean())
        return float(np.abs(answer.labels - truth).mean() / (truth.std() or 1.0))

    full = loss(predictor.predict(rows))
    out = {}
    for column in predictor.manifest.columns:
        shuffled = rows.assign(**{column: rows[column].to_numpy()[generator.permutation(len(rows))]})
        out[column] = max(0.0, loss(predictor.predict(shuffled)) - full)
    return out


def target(document: Document, rows: pd.DataFrame) -> np.ndarray:
    """The label of each row: classes as strings (object), or float64."""
    values = rows[document.spec.data.label.column]
    if document.spec.scope.problem == "regression":
        return pd.to_numeric(values).to_numpy(dtype=np.float64)
    return values.astype(str).to_numpy(dtype=object)


def data_version(rows: pd.DataFrame) -> str:
    """A hash of names, ids and content: the same rows have the same version."""
    hashed = hashlib.sha256("\0".join(map(str, rows.columns)).encode())
    hashed.update(pd.util.hash_pandas_object(rows, index=False).to_numpy().tobytes())
    return f"sha256:{hashed.hexdigest()[:32]}"


def _kept(predictor: Predictor, rows: pd.DataFrame) -> pd.DataFrame:
    """At most 5000 rows, evenly over time, as monitoring compares with them: every column that a request holds."""
    step = max(1, -(-len(rows) // _MOST_REFERENCE_ROWS))
    rows = rows.iloc[::step].reset_index(drop=True)
    answer = predictor.predict(rows)
    kept: dict[str, Any] = {rule.name: rows[rule.name] for rule in predictor.contract.features}
    label = rows[predictor.manifest.label]
    labels = label.astype(str) if predictor.manifest.problem == "classification" else pd.to_numeric(label)
    frame = pd.DataFrame({**kept, TIME: rows[TIME], LABEL: labels, PREDICTION: answer.labels})
    if answer.scores is not None:
        frame[SCORES] = list(answer.scores)
    return frame


def _label_type(contract: Contract) -> Any:
    kind = contract.label.type
    return "string" if kind == "empty" else kind
