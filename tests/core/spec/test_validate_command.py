"""`trimtab validate`: what a person and what a script sees, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.cli.validate import validate
from trimtab.spec.generate import SMALLEST


def test_a_right_document_is_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(SMALLEST)
    validate(path, as_json=False)
    assert "valid ModelLoop: orders, classification of fraud" in capsys.readouterr().out
    validate(path, as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_wrong_one_is_shown_with_its_line_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(SMALLEST.replace("label:", "lable:"))
    with pytest.raises(SystemExit) as ended:
        validate(path, as_json=False)
    assert ended.value.code == 2
    shown = capsys.readouterr().err.splitlines()
    at = next(index for index, line in enumerate(shown) if "    lable: {column: fraud}" in line)
    assert f"{path}:9:5" in shown[at - 1]
    assert shown[at + 1].index("^") == shown[at].index("lable")
    assert shown[-1] == "2 problems"


def test_scripts_get_every_problem_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(SMALLEST.replace("classification", "regresion"))
    with pytest.raises(SystemExit) as ended:
        validate(path, as_json=True)
    assert ended.value.code == 2
    (problem,) = json.loads(capsys.readouterr().out)
    assert (problem["line"], problem["path"], problem["suggestion"]) == (5, "spec.scope.problem", "regression")
    assert {"column", "message", "found", "expected"} <= problem.keys()


@pytest.mark.parametrize(
    ("problem", "training", "line", "said"),
    [
        ("classification", "estimator: RandomForrestClassifier", 11, "did you mean `RandomForestClassifier`?"),
        ("classification", "estimator: LinearRegression", 11, "it is for regression; expected one for classification"),
        ("regression", "estimator: RandomForestClassifier", 11, "did you mean `RandomForestRegressor`?"),
        ("classification", "parameters: {max_itre: 3}", 11, "training.parameters.max_itre: Hist"),
        ("classification", "parameters: {max_itre: 3}", 11, "did you mean `max_iter`?"),
        ("classification", "parameters: {max_iter: many}", 11, "expected an int in the range [1, inf), found 'many'"),
        ("classification", "estimator: SVC\n    parameters: {C: -1}", 12, "SVC does not take this value"),
        ("regression", "imbalance: balanced", 11, "a regression has no classes to balance"),
    ],
)
def test_training_settings_that_scikit_learn_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], problem: str, training: str, line: int, said: str
) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(f"{SMALLEST.replace('classification', problem)}  training:\n    {training}\n")
    with pytest.raises(SystemExit):
        validate(path, as_json=False)
    shown = capsys.readouterr().err
    assert f"loop.yaml:{line}:" in shown
    assert said in shown


@pytest.mark.parametrize(
    "training",
    [
        "estimator: MLPClassifier\n    parameters: {hidden_layer_sizes: [10, 5], learning_rate_init: 1.0e-3}",
        "estimator: RandomForestClassifier\n    parameters: {max_depth: null, max_features: sqrt, n_estimators: 10}",
        "parameters: {max_iter: 80, learning_rate: 0.06, l2_regularization: 5}",
    ],
)
def test_training_settings_that_it_takes(tmp_path: Path, training: str) -> None:
    path = tmp_path / "loop.yaml"
    path.write_text(f"{SMALLEST}  training:\n    {training}\n")
    validate(path, as_json=True)


def test_where_no_estimator_is_named_nothing_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text(SMALLEST)
    code = (
        "import sys; from pathlib import Path; from trimtab.cli.validate import validate;"
        f"validate(Path({str(tmp_path / 'loop.yaml')!r}), True);"
        "print({'sklearn', 'numpy', 'kfp'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.splitlines() == ["[]", "set()"]
