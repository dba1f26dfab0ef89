"""One operator with many loops: how soon is a change acted on? python benchmarks/operator.py [LOOPS] [CHANGES]

The API server for tests runs here, the operator in a process of its own with turns in ConfigMaps and everything else in
memory, so that what is measured is the operator and its calls, not model servers. Loops are served first; then one
after another is changed, and the time is taken until its status says that the change was acted on. The baseline of the
ratio is one GET of the same object over HTTP. Exit code 1 if a target is missed.
"""

import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/operator")]

from operator_product import LOOPS, model_loop, with_definition  # noqa: E402

from trimtab.testing.kubernetes.server import KubernetesApi  # noqa: E402

TARGET_SECONDS, TARGET_CORES, TARGET_MB = 2.0, 1.0, 600.0
MERGE = "application/merge-patch+json"
PATIENCE_SECONDS = 900.0


def main(loops: int, changes: int) -> int:
    """Measure and print."""
    with with_definition(KubernetesApi()) as api:
        for number in range(loops):
            api.request("POST", LOOPS, model_loop(f"loop-{number}"))
        command = [sys.executable, str(HERE.parent / "tests/operator/fleet_process.py"), api.url, "default", "bench"]
        environment = {**os.environ, "FLEET_IDLE_SECONDS": "60", "FLEET_BUSY_SECONDS": "10"}
        child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            return measure(api, psutil.Process(child.pid), loops, changes)
        finally:
            child.terminate()
            child.wait(60)


def measure(api: KubernetesApi, process: psutil.Process, loops: int, changes: int) -> int:
    """Wait until all serve, then change some and take the time."""
    began = time.monotonic()
    while (serving := sum(one.get("status", {}).get("phase") == "Serving" for one in api.objects(LOOPS))) < loops:
        if time.monotonic() - began > PATIENCE_SECONDS:
            print(f"only {serving} of {loops} loops serve")
            return 1
        time.sleep(1)
    print(f"{loops} loops served {time.monotonic() - began:.0f} s after the operator's start")
    generator = random.Random(7)
    took, asked = [], []
    before, since = sum(process.cpu_times()[:2]), time.monotonic()
    for number in range(changes):
        path = f"{LOOPS}/loop-{generator.randrange(loops)}"
        at = time.monotonic()
        changed = api.request("PATCH", path, {"spec": {"retraining": {"cooldown": f"{number + 3}d"}}}, MERGE)
        wanted = changed["metadata"]["generation"]
        while api.request("GET", path)["status"].get("observedGeneration") != wanted:
            if time.monotonic() - at > 60:
                print(f"{path} was not acted on within a minute")
                return 1
            time.sleep(0.005)
        took.append(time.monotonic() - at)
        at = time.monotonic()
        urllib.request.urlopen(f"{api.url}{path}").read()
        asked.append(time.monotonic() - at)
        time.sleep(0.2)
    cores = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - since)
    memory = process.memory_info().rss / 2**20
    took.sort()
    p99 = took[int(0.99 * (len(took) - 1))]
    print(
        f"{changes} changes acted on: median {statistics.median(took):.3f} s, p99 {p99:.3f} s, longest {took[-1]:.3f} s"
    )
    print(f"operator meanwhile: {cores:.2f} cores, {memory:.0f} MB")
    print(f"ratio of the median to one GET: {statistics.median(took) / statistics.median(asked):.0f}")
    print(f"targets: p99 under {TARGET_SECONDS} s, under {TARGET_CORES} core, under {TARGET_MB:.0f} MB")
    return int(p99 >= TARGET_SECONDS or cores >= TARGET_CORES or memory >= TARGET_MB)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*given, *(1000, 100)[len(given) :]))
