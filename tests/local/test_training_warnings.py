"""What the validation warns of reaches the person who trains, in the terminal and in JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from commands import TRIMTAB

from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.cli.task_display import TaskDisplay
from trimtab.cli.warned import last_warnings, lines, warnings_of
from trimtab.ports.runs import TaskRecord

pytestmark = pytest.mark.local


def _task(**metadata: object) -> TaskRecord:
    return TaskRecord("r1", "validate", "SUCCEEDED", outputs={"anomalies": {"uri": "x", "metadata": metadata}})


def test_warnings_are_bounded_and_the_rest_is_where_the_log_is() -> None:
    told = warnings_of([_task(warnings=30, sentences=[f"column {n}" for n in range(20)])])
    shown = list(lines(told, "r1"))
    assert (len(shown), shown[0]) == (9, "warning: column 0")
    assert shown[-1] == "warning: and 22 more: trimtab pipeline logs r1 validate"
    assert list(lines(warnings_of([_task()]), "r1")) == []
    assert last_warnings(MemoryRuns()) == {"run": None, "count": 0, "sentences": []}


def test_branches_that_only_the_pipeline_knows_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "its condition is false: report_as != ''"
    for branches in (True, False):
        with TaskDisplay("training", branches=branches) as display:
            display.take(TaskRecord("r1", "condition-1", "SKIPPED", exit_reason=reason))
            display.take(TaskRecord("r1", "train", "SKIPPED", exit_reason="split, which it waits for, failed"))
        shown = capsys.readouterr().err
        assert ("condition-1" in shown, "train" in shown) == (branches, True)


def test_a_training_says_what_its_data_warned_of(tmp_path: Path) -> None:
    rows = "".join(
        f"2024-01-{1 + n % 28:02d},{['EU', 'NA'][n % 2]},{n % 2 * 5 + n % 7},{n % 9}.5%\n" for n in range(300)
    )
    (tmp_path / "d.csv").write_text(f"at,y,x,share\n{rows}")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TRIMTAB, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=True
        )

    run("init", "--label", "y", "--time", "at")
    told = json.loads(run("run", "--json").stdout)
    (result,) = told["runs"]
    assert result["warnings"]["count"] == 1
    assert "column 'share' holds numbers written like '0.5%'" in result["warnings"]["sentences"][0]
    status = json.loads(run("status", "--json").stdout)
    assert status["data_warnings"] == {"run": result["run"], **result["warnings"]}
    assert "data" in run("status").stdout
