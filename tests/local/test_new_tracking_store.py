"""A tracking store that two processes open in its first moment is made once."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.local, pytest.mark.slow]

_OPEN = """
import sys
from trimtab.stages.register import connect
import mlflow.store.tracking.sqlalchemy_store
print("imported", flush=True)
sys.stdin.readline()
print(len(connect(sys.argv[1]).search_experiments()))
"""


def test_two_processes_make_one_store(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _OPEN, f"sqlite:///{tmp_path / 'mlflow.db'}"]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        out, errors = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "1\n"), errors
