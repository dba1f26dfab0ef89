"""What the bare profile takes while nothing happens: python benchmarks/idle.py [SECONDS]

One operator and one loop that serves: model server, Envoy and collector are real processes, run by the node for tests
as the pods that the operator makes; intervals are the chart's. Processor time and memory of all of them are taken; the
API server and the node, which a cluster has anyway, are not counted. Exit code 1 if a target is missed.
"""

import copy
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[0] = str(HERE.parent / "tests/operator")  # instead of this folder, whose operator.py would be the library's

from bare_cluster import LOOP, BareCluster  # noqa: E402

from trimtab.testing.envoy_world import ask, until  # noqa: E402

TARGET_CORES, TARGET_MB = 1.0, 1536.0
PATIENCE_SECONDS = 300.0
SETTLED_SECONDS = 20.0  # after the last start: imports are done, and a first monitoring run too
USUAL = {"TRIMTAB_BUSY_SECONDS": "10", "TRIMTAB_IDLE_SECONDS": "60", "TRIMTAB_LEASE_SECONDS": "15"}


def main(seconds: float) -> int:
    """Start, wait, measure, print."""
    with tempfile.TemporaryDirectory() as folder, BareCluster(Path(folder), **USUAL) as cluster:
        operator = psutil.Process(cluster.start().pid)
        cluster.give_rows()
        loop = copy.deepcopy(LOOP)
        loop["spec"]["monitoring"]["every"] = "1d"
        cluster.api.request("POST", cluster.loops, loop)
        until(lambda: _serves(cluster), PATIENCE_SECONDS)
        time.sleep(SETTLED_SECONDS)
        parts = {"operator": operator}
        for role in ("model", "router", "collector"):
            (name,) = cluster.named("pods", role)
            (pod,) = cluster.node.of(name)
            parts[role] = psutil.Process(pod.process.pid)
        return measure(parts, seconds)


def measure(parts: dict[str, psutil.Process], seconds: float) -> int:
    """Over this time, by part with its children."""
    before, since = {name: _seconds(process) for name, process in parts.items()}, time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - since
    cores = {name: (_seconds(process) - before[name]) / took for name, process in parts.items()}
    memory = {
        name: sum(one.memory_full_info().pss for one in _family(process)) / 2**20 for name, process in parts.items()
    }
    for name in parts:
        print(f"{name:<10} {cores[name]:.3f} cores, {memory[name]:5.0f} MB")
    whole = sum(cores.values()), sum(memory.values())
    print(f"in all     {whole[0]:.3f} cores, {whole[1]:5.0f} MB (proportional), over {took:.0f} s")
    print(f"ratio to the targets: {whole[0] / TARGET_CORES:.2f} of {TARGET_CORES:g} core, ", end="")
    print(f"{whole[1] / TARGET_MB:.2f} of {TARGET_MB:.0f} MB; load of this machine {os.getloadavg()[0]:.1f}")
    return int(whole[0] >= TARGET_CORES or whole[1] >= TARGET_MB)


def _serves(cluster: BareCluster) -> bool:
    """Whether the loop is Ready and its front door answers."""
    conditions = cluster.status().get("conditions") or ()
    if not any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
        return False
    body = json.dumps({"instances": [{"x": 1.0, "noise": 0.0}]}).encode()
    try:
        return ask(cluster.door(), "POST", "/v1/models/signs:predict", body)[0] == 200
    except (OSError, ValueError):
        return False


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _seconds(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in _family(process))


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
