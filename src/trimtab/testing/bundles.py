"""Real bundles for tests and benchmarks: fitted on made rows, written and vouched for like any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trimtab.spec.document import ModelLoop
from trimtab.stages import bundle, fitting, split, validate
from trimtab.stages.bundle import Predictor


@dataclass(frozen=True)
class MadeBundle:
    """A bundle on disk with the rows it was judged on."""

    folder: Path
    digest: str
    document: ModelLoop
    holdout: pd.DataFrame

    def load(self) -> Predictor:
        """The bundle, checked."""
        return bundle.load(self.folder, self.digest)


def document(problem: str = "classification", **sections: Any) -> ModelLoop:
    """A small loop over made rodent rows; keyword arguments are sections of spec, as in loop.yaml."""
    label = "genus" if problem == "classification" else "weight"
    spec = {
        "scope": {"problem": problem},
        "data": {"source": {"path": "rows.csv"}, "time": {"column": "caught"}, "label": {"column": label}, "id": "tag"},
        "training": {"estimator": "DecisionTreeClassifier" if problem == "classification" else "DecisionTreeRegressor"},
        **sections,
    }
    return ModelLoop.model_validate(
        {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "metadata": {"name": "rodents"}, "spec": spec}
    )


def rows(n: int = 600, seed: int = 1) -> pd.DataFrame:
    """Made rows, one an hour from 2020-01-01: tag, caught, weight (g), hindfoot (mm), sex, plot, genus."""
    generator = np.random.default_rng(seed)
    genus = generator.choice(["Dipodomys", "Chaetodipus", "Onychomys"], n, p=[0.5, 0.3, 0.2])
    middle = pd.Series(genus).map({"Dipodomys": 44.0, "Chaetodipus": 18.0, "Onychomys": 27.0}).to_numpy()
    weight = np.round(middle + generator.normal(0, 5, n), 1)
    times = pd.Series(pd.date_range("2020-01-01", periods=n, freq="h", tz="UTC")).astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "tag": [f"t{number}" for number in range(n)],
            "caught": times.dt.strftime("%Y-%m-%dT%H:%M:%S"),
            "weight": weight,
            "hindfoot": np.round(weight * 0.6 + generator.normal(0, 2, n), 1),
            "sex": pd.Series(generator.choice(["F", "M"], n), dtype=object),
            "plot": generator.integers(1, 24, n),
            "genus": pd.Series(genus, dtype=object),
            "_id": [f"t{number}" for number in range(n)],
            "_time": times,
        }
    )


def make(folder: Path, loop: ModelLoop | None = None, n: int = 600, seed: int = 1) -> MadeBundle:
    """Fit on made rows and write the bundle into `folder`."""
    chosen = loop or document()
    frame = rows(n, seed)
    contract = validate.infer(frame, chosen.spec.data, chosen.spec.scope.problem, include=chosen.spec.features.include)
    known, held = split.split(frame, chosen.spec.data.split, chosen.spec.data, chosen.spec.training.seed)
    fitted = fitting.fit(chosen, contract, known, "2020-02-01T00:00:00+00:00")
    digest = fitting.pack(folder, fitted, held, fitting.judge(chosen, fitted, held, None))
    return MadeBundle(folder, digest, chosen, held)
