"""The commands of serving/README.md, as a reader would type them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving_processes import labels, predictions

from trimtab.adapters.listening import free_port

pytestmark = pytest.mark.local
_README = Path(__file__).parents[2] / "serving" / "README.md"


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    block = re.search(r"```sh\n(.*?)```", _README.read_text(), re.S)
    assert block
    script = block[1]
    taken: set[int] = set()
    for port in ("8085", "8086", "8087"):
        taken.add(free := free_port(avoid=frozenset(taken)))
        script = script.replace(port, str(free))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-u"],
        check=False,
        input=script,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert '{"predictions":["Dipodomys"],"ids":["r1"],"version":"1"}' in done.stdout
    assert '"id":"r2"' in done.stdout
    assert '"data":["Chaetodipus"]' in done.stdout
    assert '{"accepted":1}' in done.stdout
    assert 'trimtab_model_info{digest="sha256:' in done.stdout
    assert {one["id"] for one in predictions(tmp_path / "state")} == {"r1", "r2"}
    assert [(one["id"], one["label"]) for one in labels(tmp_path / "state")] == [("r1", "Dipodomys")]
