"""The commands of docs/kubernetes.md, with kubectl, in the order of the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("kopf", reason="kopf is not installed")

from bare_cluster import BareCluster
from operator_product import LOOPS
from test_bare_loop import wait

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    page = (ROOT / "docs/kubernetes.md").read_text()
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", page, re.S)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.local
@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    binary = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
    if not binary:
        pytest.skip("no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
    with BareCluster(tmp_path) as cluster:
        cluster.start()

        def run(command: str) -> str:
            environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path)}
            words = command.replace("kubectl ", f"{binary} ", 1)
            told = subprocess.run(
                ["bash", "-ec", words],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert told.returncode == 0, f"{command}\n{told.stdout}\n{told.stderr}"
            return told.stdout

        todo = commands()
        assert "modelloop" in run(todo.pop(0))
        assert "desert-rodents" in run(todo.pop(0))
        wait(cluster, lambda: "rows are not there" in cluster.status("desert-rodents").get("message", ""))
        said = run(todo.pop(0))
        assert "cp captures.csv.gz" in said
        assert str(cluster.volume / "default/desert-rodents/captures.csv.gz") in said
        shutil.copy(ROOT / "examples/desert-rodents/captures.csv.gz", cluster.volume / "default/desert-rodents")
        wait(cluster, lambda: cluster.status("desert-rodents").get("champion") == "1", 240)
        assert "Accepted" in run(todo.pop(0))
        assert "Promote" in run(todo.pop(0))
        run(todo.pop(0))
        wait(cluster, lambda: cluster.reasons().count("Retrain") > 1)
        for command in todo:
            run(command)
        wait(cluster, lambda: not cluster.api.objects(LOOPS) and not cluster.api.objects("/api/v1/pods"))
