"""`trimtab pipeline` as a person or a script uses it."""

# ruff: noqa: PTH110, PTH123

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from kfp import compiler, dsl
from parts import IMAGE, add, fail, say, write

pytestmark = pytest.mark.local
PATIENCE_SECONDS = 60.0


@dsl.pipeline(name="sum-pipeline")
def summed(a: int, b: int = 2, many: list = [], note: str = "") -> int:  # noqa: B006
    say(text=f"{many} {note}")
    return add(a=a, b=b).output


@dsl.pipeline(name="file-pipeline")
def filed(text: str) -> dsl.Dataset:
    return write(text=text).outputs["data"]


@dsl.pipeline(name="failing-pipeline")
def failing():
    say(text="fine")
    fail(message="too bad")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def gated(marks: str, name: str) -> str:
    import os
    import time
    import uuid

    with open(f"{marks}/{name}-{uuid.uuid4().hex}", "w") as file:
        file.write(str(os.getpid()))
    give_up = time.monotonic() + 120
    while not os.path.exists(f"{marks}/gate") and time.monotonic() < give_up:
        time.sleep(0.01)
    return name


@dsl.pipeline(name="gated-pipeline")
def gated_pipeline(marks: str) -> str:
    first = say(text="first")
    return gated(marks=marks, name=first.output).output


class Shell:
    """Runs the command in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def compile(self, pipeline: Any) -> str:
        path = self.folder / f"{pipeline.name}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return str(path)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "trimtab", "pipeline", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def json(self, *arguments: str, code: int = 0) -> Any:
        returned, out, err = self.run(*arguments, "--json")
        assert returned == code, err
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_a_run_as_json(shell: Shell) -> None:
    told = shell.json("run", shell.compile(summed), "-p", "a=40", "-p", 'many=["x", 1]', "-p", "note=a=b")
    assert told["state"] == "SUCCEEDED"
    assert told["output"] == 42
    tasks = {task["path"]: task for task in told["tasks"]}
    assert tasks["say"]["outputs"] == {"Output": '["x", 1] a=b'}
    assert tasks["add"]["state"] == "SUCCEEDED"
    assert tasks["add"]["seconds"] > 0
    assert tasks["add"]["inputs"] == {"a": 40, "b": 2}
    assert tasks["add"]["started"] < tasks["add"]["ended"]
    assert Path(tasks["add"]["log"]).is_file()
    assert (shell.folder / ".trimtab" / "ledger.db").is_file()
    assert Path(told["tasks"][0]["log"]).is_relative_to(shell.folder / ".trimtab" / "runs" / told["run"])


@dsl.pipeline(name="optional-list-pipeline")
def optional_list(a: list = None, text: str = "t") -> str:  # noqa: RUF013
    return say(text=text).output


def test_null_is_nothing_for_an_optional_parameter_and_a_word_for_a_text(shell: Shell) -> None:
    told = shell.json("run", shell.compile(optional_list), "-p", "a=null", "-p", "text=null")
    assert (told["output"], told["parameters"]) == ("null", {"text": "null"})


def test_an_artifact_as_output_is_its_uri(shell: Shell) -> None:
    told = shell.json("run", shell.compile(filed), "-p", "text=hello", "--home", "state")
    assert Path(told["output"]).read_text() == "hello"
    assert Path(told["output"]).is_relative_to(shell.folder / "state")


def test_a_run_for_a_person(shell: Shell) -> None:
    code, out, err = shell.run("run", shell.compile(summed), "-p", "a=1")
    assert (code, out) == (0, "3\n")
    assert "add succeeded" in err
    code, out, err = shell.run("run", shell.compile(summed), "-p", "a=1")
    assert (code, out) == (0, "3\n")
    assert "add cached" in err
    code, out, err = shell.run("run", shell.compile(summed), "-p", "a=1", "--no-cache", "--jobs", "1")
    assert "add succeeded" in err


def test_a_failure(shell: Shell) -> None:
    told = shell.json("run", shell.compile(failing), code=1)
    assert told["state"] == "FAILED"
    assert told["output"] is None
    assert "RuntimeError: too bad" in told["reason"]
    code, out, err = shell.run("run", shell.compile(failing))
    assert (code, out) == (1, "")
    assert "RuntimeError: too bad" in err
    assert "--resume" in err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "parameter a"),
        (["-p", "a"], "expected name=value"),
        (["-p", "a=x"], "expected an integer, found 'x'"),
        (["-p", "a=1", "-p", "a=2"], "given twice"),
        (["-p", "a=1", "-p", "c=2"], "unknown parameter c"),
        (["-p", "a=1", "-p", "many=[1"], "parameter many: expected a list"),
        (["--resume", "x"], "give neither FILE nor -p"),
    ],
)
def test_refusals_are_exit_code_two_and_leave_nothing(shell: Shell, arguments: list[str], part: str) -> None:
    file = shell.compile(summed)
    code, out, err = shell.run("run", file, *arguments)
    assert (code, out) == (2, "")
    assert part in err
    told = shell.json("run", file, *arguments, code=2)
    assert told["state"] == "REFUSED"
    assert part in told["reason"]
    assert shell.json("list") == []


def test_looking_at_runs(shell: Shell) -> None:
    code, out, _ = shell.run("list")
    assert (code, "no runs yet" in out) == (0, True)
    assert not (shell.folder / ".trimtab").exists()
    first = shell.json("run", shell.compile(summed), "-p", "a=1")["run"]
    second = shell.json("run", shell.compile(failing), code=1)["run"]
    assert [(run["run"], run["state"]) for run in shell.json("list")] == [(second, "FAILED"), (first, "SUCCEEDED")]
    assert first in shell.run("list")[1]
    shown = shell.json("show", first[:-2])
    assert shown["output"] == 3
    assert {task["path"]: task["inputs"] for task in shown["tasks"]}["add"] == {"a": 1, "b": 2}
    assert "add" in shell.run("show", first)[1]
    log = shell.run("logs", second, "fail")[1]
    assert "RuntimeError: too bad" in log
    assert "==> say" in shell.run("logs", second)[1]
    for arguments in (("show", "nothing"), ("logs", "nothing"), ("logs", first, "nothing")):
        code, _, err = shell.run(*arguments)
        assert (code, "nothing" in err) == (2, True)


def _waiting_task(shell: Shell, marks: Path) -> int:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (found := [path.read_text() for path in marks.glob("first-*") if path.read_text()]):
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return int(found[-1])


def _gone(pid: int) -> bool:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_from_outside_is_taken_up(shell: Shell, marks: Path, number: signal.Signals) -> None:
    running = shell.start("run", shell.compile(gated_pipeline), "-p", f"marks={marks}", "--json")
    task = _waiting_task(shell, marks)
    [run] = shell.json("list")
    assert run["state"] == "RUNNING"
    code, _, err = shell.run("run", "--resume", run["run"])
    assert (code, "is being run by another process" in err) == (1, True)
    os.kill(running.pid, number)
    out, _ = running.communicate(timeout=PATIENCE_SECONDS)
    assert _gone(task)
    if number == signal.SIGKILL:
        assert (running.returncode, out) == (-signal.SIGKILL, "")
    else:
        assert running.returncode == 130
        assert json.loads(out)["state"] == "INTERRUPTED"
    assert shell.json("list")[0]["state"] == "INTERRUPTED"
    (marks / "gate").touch()
    told = shell.json("run", "--resume", run["run"])
    assert (told["state"], told["output"], told["run"]) == ("SUCCEEDED", "first", run["run"])
    assert {task["path"]: task["attempts"] for task in told["tasks"]} == {"say": 1, "gated": 2}
    assert len(list(marks.glob("first-*"))) == 2
    assert shell.json("run", "--resume", run["run"], code=2)["state"] == "REFUSED"


def test_state_is_beside_the_nearest_loop(shell: Shell) -> None:
    (shell.folder / "loop.yaml").write_text("")
    inner = shell.folder / "inner"
    inner.mkdir()
    file = shell.compile(summed)
    Shell(inner).json("run", file, "-p", "a=1")
    assert (shell.folder / ".trimtab" / "ledger.db").is_file()
    assert not (inner / ".trimtab").exists()


def test_a_home_that_cannot_be(shell: Shell) -> None:
    (shell.folder / "file").write_text("")
    code, _, err = shell.run("run", shell.compile(summed), "-p", "a=1", "--home", "file")
    assert (code, "cannot hold the state of a loop" in err) == (2, True)
    (shell.folder / "state").mkdir()
    (shell.folder / "state" / "ledger.db").write_bytes(b"no ledger" * 1000)
    code, _, err = shell.run("run", shell.compile(summed), "-p", "a=1", "--home", "state")
    assert (code, "is damaged" in err) == (1, True)
