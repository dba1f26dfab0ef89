"""`trimtab validate`: what a person and what a script sees, and the exit codes."""

from __future__ import annotations

import json
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
