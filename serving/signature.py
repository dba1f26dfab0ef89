"""What a bundle takes and gives, in the V2 protocol's words: one tensor a column in, `prediction` and `scores` out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trimtab.stages.bundle import Predictor

OUTPUTS = ("prediction", "scores")
_ANSWERED = {"string": "BYTES", "integer": "INT64", "boolean": "BOOL", "number": "FP64"}
_ASKED = {"string": "BYTES", "integer": "INT64", "number": "FP64", "boolean": "BOOL", "empty": "BYTES"}


@dataclass(frozen=True)
class Tensor:
    """A tensor's description; -1 in its shape stands for the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As model metadata tell it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def inputs(predictor: Predictor) -> list[Tensor]:
    """The raw columns that the model uses."""
    contract = predictor.contract.by_name
    return [Tensor(name, _ASKED[contract[name].type], (-1,)) for name in predictor.manifest.columns]


def outputs(predictor: Predictor) -> list[Tensor]:
    """`prediction`, and `scores` in the order of the classes if the estimator has them."""
    found = [Tensor(OUTPUTS[0], _ANSWERED[predictor.manifest.label_type], (-1,))]
    classes = predictor.manifest.classes
    if classes and hasattr(predictor.estimator, "predict_proba"):
        found.append(Tensor(OUTPUTS[1], "FP64", (-1, len(classes))))
    return found


def typed(label: Any, kind: str) -> Any:
    """A class in the type that the training data had (`label_type` of the manifest)."""
    if not isinstance(label, str):
        return label
    if kind == "integer":
        return int(label)
    if kind == "boolean":
        return label.lower() == "true"
    return float(label) if kind == "number" else label
