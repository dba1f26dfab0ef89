"""The walk of docs/kubernetes.md on real nodes: chart, example, data, requests, retraining, promotion, roll-back.

Wants the two images on a node (`kind load`), or TRIMTAB_IMAGE and TRIMTAB_SERVER_IMAGE that nodes can pull, a default
class of volumes (or TRIMTAB_STORAGE_CLASS), and helm. Takes about ten minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import KUBECTL, Json, Kubectl, eventually

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/helm")]

from rendering import NO_HELM, helms  # noqa: E402

from trimtab import __version__  # noqa: E402

EXAMPLE = ROOT / "examples/canary-on-kind"
PLACE = "/var/lib/trimtab/{}/rodents/captures.csv"
OURS = {
    "TRIMTAB_IMAGE": f"ghcr.io/trimtab/trimtab:{__version__}-python3.11",
    "TRIMTAB_SERVER_IMAGE": f"ghcr.io/trimtab/trimtab-kserve:{__version__}",
}


@pytest.fixture
def images(nodes: list[Json]) -> dict[str, str]:
    """By the chart's value: repository and tag. Skips if they are neither given nor on a node."""
    there = {name for node in nodes for one in node["status"].get("images") or () for name in one.get("names") or ()}
    found = {}
    for variable, value in (("TRIMTAB_IMAGE", "image"), ("TRIMTAB_SERVER_IMAGE", "serverImage")):
        name = os.environ.get(variable) or OURS[variable]
        if variable not in os.environ and name not in there:
            pytest.skip(f"{name} is on no node: make images and `kind load`, or name one in {variable}")
        found[f"{value}.repository"], found[f"{value}.tag"] = name.rsplit(":", 1)
    return found


@pytest.fixture
def storage(context: str) -> str:
    """A class of volumes."""
    if os.environ.get("TRIMTAB_STORAGE_CLASS"):
        return os.environ["TRIMTAB_STORAGE_CLASS"]
    for one in Kubectl(context).get("storageclasses")["items"]:
        if (one["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true":
            return ""
    pytest.skip("no class of volumes is the default: name one in TRIMTAB_STORAGE_CLASS")


@pytest.fixture
def installed(definition: None, kubectl: Kubectl, images: dict[str, str], storage: str) -> Kubectl:
    """The chart, in the test's namespace, by helm."""
    if not helms():
        pytest.skip(NO_HELM)
    quick = {"operator.busySeconds": "2", "operator.idleSeconds": "2", "volume.storageClass": storage}
    values = [f"--set-string={key}={value}" for key, value in images.items()]
    values += [f"--set={key}={value}" for key, value in quick.items() if value]
    place = ["--kube-context", kubectl.context, "--namespace", kubectl.namespace]
    done = subprocess.run(
        [helms()[-1], "install", "trimtab", str(ROOT / "helm/trimtab"), *place, "--skip-crds", *values],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kubectl("wait", "deployment/trimtab", "--for=condition=Available", "--timeout=300s", seconds=330)
    return kubectl


@pytest.fixture
def door(installed: Kubectl) -> Iterator[list[str]]:
    """Fills with the address of the router once somebody asks for it; its port-forward ends with the test."""
    running: list[subprocess.Popen[str]] = []

    class Door(list[str]):
        def open(self) -> str:
            place = ["--context", installed.context, "--namespace", installed.namespace]
            process = subprocess.Popen(
                [KUBECTL, *place, "port-forward", "service/rodents-router", ":8080"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            running.append(process)
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", said)
            assert found, said
            return f"http://127.0.0.1:{found[1]}"

    yield Door()
    for process in running:
        process.kill()
        process.wait()


def put(kubectl: Kubectl, text: str) -> None:
    """As the page does: through the operator's pod, whole or not at all."""
    place = PLACE.format(kubectl.namespace)
    words = ["exec", "-i", "deploy/trimtab", "--", "sh", "-c", "cat > $0.new && mv $0.new $0", place]
    where = ["--context", kubectl.context, "--namespace", kubectl.namespace]
    done = subprocess.run(
        [KUBECTL, *where, *words], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def captures(imperial: bool = False) -> str:
    """Those before 2001, by the page's own commands."""
    command = "gunzip -c examples/desert-rodents/captures.csv.gz | awk -F, 'NR == 1 || $4 < 2001'"
    if imperial:
        command += " | awk -F, -v OFS=, 'NR > 1 {$8 = $8 / 25.4; $9 = $9 / 28.35} 1'"
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def status(kubectl: Kubectl) -> Json:
    return dict(kubectl.get("modelloop", "rodents").get("status") or {})


def wait_for(kubectl: Kubectl, what: str, seconds: int) -> None:
    kubectl("wait", "modelloop/rodents", f"--for={what}", f"--timeout={seconds}s", seconds=seconds + 30)


@pytest.mark.timeout(2400)
def test_a_canary_promotes_itself_and_a_broken_one_is_rolled_back(installed: Kubectl, door: list[str]) -> None:
    kubectl = installed
    kubectl("apply", "-f", str(EXAMPLE / "loop.yaml"))
    eventually(lambda: "rows are not there" in status(kubectl).get("message", ""), 120, "the loop says what it lacks")
    put(kubectl, captures())
    wait_for(kubectl, "condition=Ready", 600)
    kubectl(
        *("wait", "deployment", "--selector", "trimtab.dev/loop=rodents", "--for=condition=Available"),
        "--timeout=300s",
        seconds=330,
    )
    address = door.open()  # type: ignore[attr-defined]
    command = [sys.executable, str(EXAMPLE / "traffic.py"), address, "1800"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as traffic:
        try:
            kubectl("annotate", "modelloop", "rodents", "trimtab.dev/wish=retrain")
            wait_for(kubectl, "jsonpath={.status.champion}=2", 900)
            put(kubectl, captures(imperial=True))
            kubectl("annotate", "modelloop", "rodents", "trimtab.dev/wish=retrain")
            wait_for(kubectl, "jsonpath={.status.lastDecision.what}=roll-back", 900)
        finally:
            traffic.kill()
            failed = traffic.stderr.read() if traffic.stderr else ""
    assert status(kubectl)["champion"] == "2"
    events = kubectl.get("events", "--field-selector", "involvedObject.name=rodents")["items"]
    reasons = [one["reason"] for one in events]
    assert reasons.count("Promote") == 2
    assert reasons.count("Step") == 2
    (back,) = [one["message"] for one in events if one["reason"] == "RollBack"]
    assert "surely worse than allowed" in back
    assert failed == "", failed
