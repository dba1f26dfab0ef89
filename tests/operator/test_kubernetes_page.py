"""docs/kubernetes.md from its first command to its last, in its order and namespace, until a broken version is back.

Stood in for: `make kind`, helm and the operator's pod (a process), `kubectl exec` (the file
is copied to where the volume lies), `port-forward` (the door is asked directly). All else is run as it is written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("kopf", reason="kopf is not installed")

from bare_cluster import BareCluster
from test_bare_loop import wait

from trimtab.cli.doctor import DEFINITION_MEND

ROOT = Path(__file__).parents[2]
NAMESPACE = "models"
KUBECTL = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
DOOR = re.compile(r"(http://)?localhost:8080")
COPY = re.compile(r"kubectl exec -i deploy/trimtab -- sh -c '.*' /var/lib/trimtab/(\S+) < (\S+)")


def commands() -> list[str]:
    page = (ROOT / "docs/kubernetes.md").read_text()
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", page, re.S)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


class Reader:
    """Does what the page says, line by line."""

    def __init__(self, cluster: BareCluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        (folder / "home").mkdir()
        for name in ("examples", "helm", "manifests"):
            (folder / "home" / name).symlink_to(ROOT / name)
        self.environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(folder)}
        self.traffic: subprocess.Popen[bytes] | None = None

    def does(self, command: str) -> str:
        """What it prints."""
        if command == "make kind":
            default = re.search(r"NAMESPACE:-(\w+)", (ROOT / "manifests/kind/create").read_text())
            assert default is not None
            assert default[1] == NAMESPACE
            return ""
        if command.startswith("helm "):
            assert re.search(r"--namespace (\S+)", command)[1] == NAMESPACE  # type: ignore[index]
            self.cluster.start()
            return ""
        if "port-forward" in command:
            assert "service/rodents-router 8080" in command
            wait(self.cluster, lambda: bool(self.cluster.door()))
            return ""
        if "traffic.py" in command:
            words = DOOR.sub(f"http://{self.cluster.door()}", command).split()
            with (self.folder / "traffic.log").open("wb") as log:
                self.traffic = subprocess.Popen(
                    [sys.executable, *words[1:]], cwd=self.folder / "home", stdout=log, stderr=log
                )
            return ""
        copied = COPY.fullmatch(command)
        if copied:
            place = self.cluster.volume / copied[1]
            shutil.copy(self.folder / "home" / copied[2], f"{place}.new")
            Path(f"{place}.new").rename(place)
            return ""
        return self.bash(DOOR.sub(self.cluster.door(), command) if command.startswith("curl") else command)

    def bash(self, command: str) -> str:
        """Run as it is written, by bash."""
        told = subprocess.run(
            ["bash", "-ec", re.sub(r"^kubectl ", f"{KUBECTL} ", command)],
            cwd=self.folder / "home",
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if told.returncode:
            sent = (self.folder / "traffic.log").read_text()[-1500:] if self.traffic else ""
            raise AssertionError(f"{command}\n{told.stdout}\n{told.stderr}\n{sent}\n{self.cluster.told()}")
        return told.stdout

    def close(self) -> None:
        """No more requests."""
        if self.traffic is not None:
            self.traffic.kill()
            self.traffic.wait()


@pytest.mark.local
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not KUBECTL, reason="no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
def test_the_page_leads_from_nothing_to_a_promotion_and_a_roll_back(tmp_path: Path) -> None:
    with BareCluster(tmp_path, NAMESPACE) as cluster:
        reader = Reader(cluster, tmp_path)
        told: dict[str, str] = {}
        try:
            for number, command in enumerate(commands()):
                if "jsonpath={.status.message}" in command:
                    wait(cluster, lambda: "rows are not there" in cluster.status("rodents").get("message", ""))
                if "wish=rollback" in command:
                    assert cluster.status("rodents")["champion"] == "2"
                if "delete modelloop" in command:
                    wait(cluster, lambda: "trimtab.dev/wish" not in str(cluster.api.objects(cluster.loops)))
                if "on-delete" in command:
                    assert reader.traffic is not None
                    assert reader.traffic.poll() is None
                    reader.close()  # as the page says
                told[f"{number} {command}"] = reader.does(command)
        finally:
            reader.close()
        said = {key.partition(" ")[2]: text for key, text in told.items()}
        missing = next(text for key, text in said.items() if "status.message" in key)
        assert str(cluster.volume / NAMESPACE / "rodents/captures.csv") in missing
        predicted = next(text for key, text in said.items() if ":predict" in key)
        assert '"Dipodomys"' in predicted
        decided = next(text for key, text in said.items() if "custom-columns" in key).split("\n")
        reasons = [line.split()[0] for line in decided[1:] if line]
        assert reasons.count("Promote") == 2
        assert reasons.count("Step") == 2
        assert {"Retrain", "Start"} <= set(reasons)
        back = next(text for key, text in said.items() if "reason=RollBack" in key)
        assert re.search(r"Version 3 is rolled back: right answers -\d.* surely worse than allowed", back)
        sent = (tmp_path / "traffic.log").read_text()
        assert "version 2: " in sent
        assert "version 3" not in sent  # it was seen through before a client got one of its answers
        assert "failed:" not in sent
        wait(cluster, lambda: not cluster.api.objects(cluster.loops) and not cluster.api.objects("/api/v1/pods"))


@pytest.mark.local
def test_the_numbers_of_the_page_are_those_of_its_example() -> None:
    page, loop = (ROOT / "docs/kubernetes.md").read_text(), (ROOT / "examples/canary-on-kind/loop.yaml").read_text()
    assert "steps: [25, 50]" in loop
    assert "25 % and 50 %" in page
    assert "leastRequests: 60, leastLabels: 60" in loop
    assert "answered 60 requests at each step, with 60 labels since it began" in page
    assert "worseBy: 0.05" in loop
    assert "5 points" in page


def test_the_definition_is_renewed_by_the_command_that_doctor_names() -> None:
    assert DEFINITION_MEND in (ROOT / "docs/kubernetes.md").read_text()
