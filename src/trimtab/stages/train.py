"""Fitting a scikit-learn estimator by name."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import io
from importlib import import_module
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from trimtab.errors import ArtifactCorrupt, DataRefused, Refused
from trimtab.spec.scope import Problem
from trimtab.spec.training import Training

# HistGradientBoosting at its own defaults diverges on rare classes; these settings do not.
_DEFAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": (
        "HistGradientBoostingClassifier",
        {"max_iter": 80, "learning_rate": 0.06, "l2_regularization": 5.0},
    ),
    "regression": (
        "HistGradientBoostingRegressor",
        {"max_iter": 150, "learning_rate": 0.06, "l2_regularization": 1.0},
    ),
}
_MODULES = (
    "ensemble",
    "linear_model",
    "tree",
    "neighbors",
    "svm",
    "naive_bayes",
    "neural_network",
    "discriminant_analysis",
    "gaussian_process",
    "kernel_ridge",
    "calibration",
    "dummy",
)
_EARLY_STOPPING_ROWS = 10_000  # HistGradientBoosting "auto": above this it holds out a share of every class


def fit(training: Training, problem: Problem, matrix: np.ndarray, target: np.ndarray) -> Any:
    """Fit on (n, d) float64 and (n,) classes as strings or float64 values; returns the fitted estimator.

    Raises Refused for an estimator, a parameter or a value that scikit-learn does not take, DataRefused for a target
    that cannot be learnt.
    """
    if not len(target):
        raise DataRefused("there is no row to learn from. Look at data.source, training.window and data.split")
    if problem == "classification":
        classes, counts = np.unique(target, return_counts=True)
        if len(classes) < 2:
            raise DataRefused(
                f"every training row is of the class {classes[0]!r}; a classifier needs two. "
                "Look at data.label and training.window"
            )
        print(
            f"{len(target)} rows, {matrix.shape[1]} features, classes: "
            + ", ".join(f"{n} {c}" for n, c in zip(classes, counts, strict=True))
        )
    else:
        print(f"{len(target)} rows, {matrix.shape[1]} features")
    estimator = make(training, problem)
    weights = _weights(training, problem, estimator, target)
    _keep_lone_classes(training, problem, estimator, target)
    try:
        return estimator.fit(matrix, target, **weights)
    except (ValueError, TypeError) as error:
        raise Refused(f"training: {type(estimator).__name__} refused its parameters or the data: {error}") from error


def save(estimator: Any, path: Path) -> str:
    """Write the fitted estimator; returns the digest that vouches for its bytes."""
    import joblib

    joblib.dump(estimator, path, compress=3)
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def load(path: Path, digest: str) -> Any:
    """Read what `save` wrote; raises ArtifactCorrupt, before any unpickling, if the bytes are others."""
    import joblib

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactCorrupt(f"{path} cannot be read: {error.strerror}. Run the training again") from error
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise ArtifactCorrupt(f"{path} is not what the training step wrote ({digest}). Run the training again")
    return joblib.load(io.BytesIO(content))


def make(training: Training, problem: Problem) -> Any:
    """The estimator that `training` names, unfitted, with the seed; raises Refused with the nearest right name."""
    default, parameters = _DEFAULTS[problem]
    name = training.estimator or default
    given = {**({} if training.estimator else parameters), **training.parameters}
    kind = estimator_class(name, problem)
    accepted = [one for one in inspect.signature(kind.__init__).parameters if one != "self"]
    for parameter in given:
        if parameter not in accepted:
            raise Refused(
                f"training.parameters.{parameter}: {name} has no such parameter{_nearest(parameter, accepted)}"
            )
    if "random_state" in accepted and "random_state" not in given:
        given["random_state"] = training.seed
    if training.imbalance == "balanced" and "class_weight" in accepted and "class_weight" not in given:
        given["class_weight"] = "balanced"
    return kind(**given)


def names(problem: Problem) -> tuple[str, ...]:
    """The estimators that can be named: those of one target that need no other estimator inside, sorted."""
    found = set()
    for module in _MODULES:
        loaded = import_module(f"sklearn.{module}")
        found |= {name for name, one in vars(loaded).items() if _suits(one, module, problem)}
    return tuple(sorted(found))


def takes_missing(estimator: Any) -> bool:
    """Whether the estimator takes NaN among its features."""
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def default(problem: Problem) -> str:
    """The estimator that trains when none is named."""
    return _DEFAULTS[problem][0]


def estimator_class(name: str, problem: Problem) -> type[Any]:
    """The estimator of this name; raises Refused with the nearest right name."""
    for module in _MODULES:
        found = getattr(import_module(f"sklearn.{module}"), name, None)
        if _suits(found, module, problem):
            return found
    raise Refused(
        f"training.estimator: {name!r} is no scikit-learn estimator for {problem}{_nearest(name, list(names(problem)))}"
    )


def _suits(found: Any, module: str, problem: Problem) -> TypeGuard[type[Any]]:
    from sklearn.base import BaseEstimator, is_classifier, is_regressor
    from sklearn.utils import get_tags

    if not inspect.isclass(found) or inspect.isabstract(found) or not issubclass(found, BaseEstimator):
        return False
    if found.__name__.startswith("_") or not f"{found.__module__}.".startswith(f"sklearn.{module}."):  # for its own use
        return False
    try:
        made = found()
    except TypeError:  # it needs another estimator inside: not one that can be named alone
        return False
    fits = is_classifier if problem == "classification" else is_regressor
    return bool(fits(made)) and get_tags(made).target_tags.single_output


def _keep_lone_classes(training: Training, problem: Problem, estimator: Any, target: np.ndarray) -> None:
    """A class of one row cannot be on both sides of an early-stopping split: without the split it can be learnt."""
    splits = problem == "classification" and getattr(estimator, "early_stopping", None) == "auto"
    if splits and "early_stopping" not in training.parameters and len(target) > _EARLY_STOPPING_ROWS:
        lone = bool((np.unique(target, return_counts=True)[1] < 2).any())
        estimator.set_params(early_stopping="auto" if not lone else False)


def _weights(training: Training, problem: Problem, estimator: Any, target: np.ndarray) -> dict[str, np.ndarray]:
    if training.imbalance == "balanced" and problem == "regression":
        raise Refused("training.imbalance: balanced weighs classes, and a regression has none; use none")
    if training.imbalance != "balanced" or "class_weight" in estimator.get_params():
        return {}
    if "sample_weight" not in inspect.signature(estimator.fit).parameters:
        raise Refused(
            f"training.imbalance: {type(estimator).__name__} takes neither class_weight nor sample weights; use none"
        )
    _, inverse, counts = np.unique(target, return_inverse=True, return_counts=True)
    return {"sample_weight": len(target) / (len(counts) * counts[inverse])}


def _nearest(name: str, known: list[str]) -> str:
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), list(lower), 1)
    return f"; did you mean {lower[near[0]]}?" if near else f". Known: {', '.join(sorted(known)[:60])}"
