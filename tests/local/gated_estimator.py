"""An estimator that waits for a file before it answers; servers under test import it by PYTHONPATH."""

import time
from pathlib import Path

import numpy as np


class Gated:
    """Answers as `estimator` does once `gate` exists; appends a byte to `begun` whenever it begins."""

    def __init__(self, estimator: object, gate: Path) -> None:
        self.estimator, self.gate, self.begun = estimator, gate, gate.with_suffix(".begun")
        self.classes_ = estimator.classes_

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        with self.begun.open("ab") as file:
            file.write(b"x" * len(matrix))
        while not self.gate.exists():
            time.sleep(0.01)
        return self.estimator.predict_proba(matrix)
