"""What of `training` scikit-learn would refuse, found before there is any data."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trimtab.errors import Refused
from trimtab.spec.problems import nearest, shown
from trimtab.spec.scope import Problem
from trimtab.spec.training import Training
from trimtab.stages import train

_EXPECTED = re.compile(r"must be (.*)\. Got ", re.DOTALL)
_OTHER: dict[Problem, Problem] = {"classification": "regression", "regression": "classification"}
_MOST_SHOWN = 40


@dataclass(frozen=True)
class Fault:
    """A setting that cannot be used; `key` is its place below `training`."""

    key: tuple[str, ...]
    message: str
    found: str = ""
    expected: str = ""
    suggestion: str = ""


def faults(training: Training, problem: Problem) -> Iterator[Fault]:
    """Everything that is wrong with the estimator and its parameters; imports scikit-learn."""
    if training.imbalance == "balanced" and problem == "regression":
        yield Fault(("imbalance",), "a regression has no classes to balance", "'balanced'", "none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of estimators that scikit-learn will drop: every one is looked at
        yield from _of_estimator(training, problem)


def _of_estimator(training: Training, problem: Problem) -> Iterator[Fault]:
    name = training.estimator or train.default(problem)
    try:
        kind = train.estimator_class(name, problem)
    except Refused:
        yield _unusable(name, problem)
        return
    accepted = [one for one in inspect.signature(kind.__init__).parameters if one != "self"]
    for parameter, value in training.parameters.items():
        key = ("parameters", parameter)
        if parameter not in accepted:
            near = nearest(parameter, accepted)
            expected = "" if near else f"one of {', '.join(sorted(accepted)[:_MOST_SHOWN])}"
            yield Fault(key, f"{name} has no such parameter", expected=expected, suggestion=near)
        elif expected := _refused(kind, parameter, value):
            yield Fault(key, f"{name} does not take this value", shown(value), expected)


def _unusable(name: str, problem: Problem) -> Fault:
    known = train.names(problem)
    near = nearest(name, known)
    expected = f"one for {problem}"
    if name in train.names(_OTHER[problem]):
        twin = name.replace("Classifier", "Regressor") if problem == "regression" else name
        twin = name.replace("Regressor", "Classifier") if problem == "classification" else twin
        suggestion = twin if twin in known else near
        return Fault(("estimator",), f"it is for {_OTHER[problem]}", shown(name), expected, suggestion)
    return Fault(("estimator",), "scikit-learn has no estimator of this name", shown(name), expected, near)


def _refused(kind: type[Any], parameter: str, value: Any) -> str:
    """What scikit-learn expects in place of the value; "" if it takes it. Each parameter is asked about by itself."""
    made = kind(**{parameter: value})
    check = getattr(made, "_validate_params", None)
    if check is None:
        return ""
    try:
        check()
    except (ValueError, TypeError) as error:
        found = _EXPECTED.search(str(error))
        return (found[1] if found else str(error)).replace("\n", " ")
    return ""
