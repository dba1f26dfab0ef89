"""Answers come in the type that the label has in the training data."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from serving_app import GOOD, V2, Served, serve, tensors

from trimtab.stages.bundle import Predictor
from trimtab.testing import bundles

Start = Callable[[Predictor], Served]
_NOW = [datetime.now(UTC)]


class _Coin:
    """Says True; has no probabilities."""

    classes_ = np.array(["False", "True"], dtype=object)

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        return np.array(["True"] * len(matrix), dtype=object)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def build(predictor: Predictor) -> Served:
        started.append(serve(predictor, tmp_path / "log"))
        return started[-1]

    yield build
    for served in started:
        served.model.stop()


def _made(folder: Path, label: str, problem: str) -> Predictor:
    data = {"source": {"path": "rows.csv"}, "time": {"column": "caught"}, "label": {"column": label}, "id": "tag"}
    return bundles.make(folder / "b", bundles.document(problem, data=data)).load()


def test_whole_numbers(start: Start, tmp_path: Path) -> None:
    predictor = _made(tmp_path, "plot", "classification")
    server = start(predictor)
    row = {"weight": 40.5, "hindfoot": 30.5, "sex": "M", "genus": "Dipodomys"}
    wanted = int(predictor.predict_rows([row], _NOW).labels[0])
    assert server.rows(row)[1]["predictions"] == [wanted]
    outputs = server.ask("POST", V2, {"inputs": tensors([row])})[1]["outputs"]
    assert (outputs[0]["datatype"], outputs[0]["data"], outputs[1]["shape"]) == ("INT64", [wanted], [1, 23])
    assert {record["prediction"] for record in server.log()} == {str(wanted)}


def test_regression_has_numbers_and_no_scores(start: Start, tmp_path: Path) -> None:
    predictor = _made(tmp_path, "weight", "regression")
    server = start(predictor)
    row = {"hindfoot": 30.5, "sex": "M", "plot": 3, "genus": "Dipodomys"}
    wanted = float(predictor.predict_rows([row], _NOW).labels[0])
    assert server.rows(row)[1]["predictions"] == [wanted]
    body = {"inputs": tensors([row])}
    outputs = server.ask("POST", V2, body)[1]["outputs"]
    assert [(one["name"], one["datatype"], one["data"]) for one in outputs] == [("prediction", "FP64", [wanted])]
    assert server.ask("POST", V2, {**body, "outputs": [{"name": "scores"}]})[0] == 400
    assert [one["name"] for one in server.ask("GET", "/v2/models/m")[1]["outputs"]] == ["prediction"]
    assert [(float(one["prediction"]), one["scores"]) for one in server.log()] == [(wanted, None)] * 2


def test_a_number_that_is_none_is_no_answer(start: Start, tmp_path: Path) -> None:
    predictor = _made(tmp_path, "weight", "regression")

    class Lost:
        def predict(self, matrix: np.ndarray) -> np.ndarray:
            return np.full(len(matrix), np.nan)

    server = start(replace(predictor, estimator=Lost()))
    status, answer, _ = server.rows({"hindfoot": 30.5, "sex": "M", "plot": 3, "genus": "Dipodomys"})
    assert (status, answer["error"]) == (500, "version 7 computed a number that is not finite")
    assert server.log() == []


def test_true_and_false_and_a_model_without_probabilities(start: Start, predictor: Predictor) -> None:
    manifest = predictor.manifest.model_copy(update={"label_type": "boolean", "classes": ("False", "True")})
    server = start(replace(predictor, manifest=manifest, estimator=_Coin()))
    assert server.rows(GOOD)[1]["predictions"] == [True]
    outputs = server.ask("POST", V2, {"inputs": tensors([GOOD])})[1]["outputs"]
    assert [(one["datatype"], one["data"]) for one in outputs] == [("BOOL", [True])]
    assert [(one["prediction"], one["scores"]) for one in server.log()] == [("True", None)] * 2
