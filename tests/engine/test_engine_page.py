"""The commands of docs/engine.md run as they are shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kfp import compiler, dsl
from parts import say, total

PAGE = Path(__file__).parents[2] / "docs" / "engine.md"


@dsl.pipeline(name="page-pipeline")
def page(text: str, numbers: list[int]) -> str:
    return say(text=f"{text} {total(numbers=numbers).output}").output


@pytest.mark.local
def test_every_command_of_the_page(tmp_path: Path) -> None:
    compiler.Compiler().compile(page, str(tmp_path / "pipeline.yaml"))
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    commands = block.group(1).strip().splitlines()
    assert len(commands) == 6
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = ""
    for command in commands:
        line = command.replace("RUN", run).replace("TASK", "say")
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if "--resume" in line:
            assert (done.returncode, "has succeeded" in done.stderr) == (2, True)
            continue
        assert done.returncode == 0, done.stderr
        if "--json" in line:
            told = json.loads(done.stdout)
            assert told["output"] == "hello 3"
            run = told["run"]
        elif "show" in line:
            assert run in done.stdout
