"""One owner a loop, whatever way the last one ended."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.errors import AlreadyRunning
from trimtab.loop.owner import owner_of, owning

_HOLD = """
import sys
from pathlib import Path
from trimtab.loop.owner import owning

with owning(Path(sys.argv[1]), "trimtab up"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_with_the_first_ones_pid(tmp_path: Path) -> None:
    path = tmp_path / "home" / "owner.json"
    refused = pytest.raises(AlreadyRunning, match=f"process {os.getpid()} .trimtab up")
    with owning(path, "trimtab up"), refused, owning(path, "trimtab replay"):
        pass
    assert owner_of(path) is None


def test_an_owner_killed_with_9_leaves_the_loop_free(tmp_path: Path) -> None:
    path = tmp_path / "owner.json"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    found = owner_of(path)
    assert found is not None
    assert found["pid"] == holder.pid
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert owner_of(path) is None
    with owning(path, "trimtab up"):
        assert owner_of(path)["pid"] == os.getpid()


def test_nobody_owns_a_loop_that_never_ran(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "owner.json") is None
