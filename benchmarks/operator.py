"""One operator with many loops: how soon is a change acted on?

python benchmarks/operator.py [--loops N] [--changes N] [--worlds memory|real]

The API server for tests runs here, the operator in a process of its own. With `--worlds memory` turns are in
ConfigMaps and everything else is in memory, so that the operator itself is measured; with `--worlds real` it is the
operator as the chart starts it on a bare cluster: Jobs, Deployments, Envoy's ConfigMaps, an MLflow store and a ledger
in SQLite for each loop, and only pods are light doubles (ready_cluster.py). Loops are served first; then one after
another is changed, and the time is taken until its status says that the change was acted on. The baseline of the ratio
is one GET of the same object over HTTP. Exit code 1 if a target is missed.
"""

import argparse
import contextlib
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/operator")]

from operator_product import LOOPS, model_loop, with_definition  # noqa: E402
from ready_cluster import ReadyCluster  # noqa: E402

from trimtab.testing.kubernetes.server import KubernetesApi  # noqa: E402

TARGET_SECONDS, TARGET_CORES, TARGET_MB = 2.0, 1.0, 600.0
MERGE = "application/merge-patch+json"
PATIENCE_SECONDS = 900.0


def main(loops: int, changes: int, worlds: str) -> int:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        with_definition(KubernetesApi()) as api,
        contextlib.ExitStack() as more,
    ):
        for number in range(loops):
            api.request("POST", LOOPS, model_loop(f"loop-{number}"))
        start = _memory if worlds == "memory" else _real
        command, environment = start(api, loops, Path(folder), more)
        child = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
        try:
            return measure(api, psutil.Process(child.pid), loops, changes)
        finally:
            child.terminate()
            child.wait(60)


def _memory(api: KubernetesApi, *_: object) -> tuple[list[str], dict[str, str]]:
    fleet = str(HERE.parent / "tests/operator/fleet_process.py")
    settings = {"FLEET_IDLE_SECONDS": "60", "FLEET_BUSY_SECONDS": "10"}
    return [sys.executable, fleet, api.url, "default", "bench"], settings


def _real(api: KubernetesApi, loops: int, folder: Path, more: contextlib.ExitStack) -> tuple[list[str], dict[str, str]]:
    volume = folder / "volume"
    for number in range(loops):
        home = volume / "default" / f"loop-{number}"
        home.mkdir(parents=True)
        (home / "rows.csv").touch()
    more.enter_context(ReadyCluster(api, volume, folder))
    settings = {
        "KUBECONFIG": str(api.kubeconfig(folder / "kubeconfig")),
        "POD_NAME": "bench",
        "POD_NAMESPACE": "default",
        "TRIMTAB_NAMESPACES": "default",
        "TRIMTAB_METRICS_PORT": "0",
        "TRIMTAB_HEALTH_PORT": "0",
        "TRIMTAB_IMAGE": "trimtab:bench",
        "TRIMTAB_CLAIM": "claim",
        "TRIMTAB_VOLUME": str(volume),
    }
    return [sys.executable, "-m", "trimtab.operator"], settings


def measure(api: KubernetesApi, process: psutil.Process, loops: int, changes: int) -> int:
    """Wait until all serve, then change some and take the time."""
    began = time.monotonic()
    while (serving := sum(one.get("status", {}).get("phase") == "Serving" for one in api.objects(LOOPS))) < loops:
        if time.monotonic() - began > PATIENCE_SECONDS:
            print(f"only {serving} of {loops} loops serve")
            return 1
        time.sleep(1)
    print(f"{loops} loops served {time.monotonic() - began:.0f} s after the operator's start")
    calls = len(api.calls)
    print(f"it has {_size(process):.0f} MB, {process.num_fds()} files and {process.num_threads()} threads")
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
    memory = _size(process)
    took.sort()
    p99 = took[math.ceil(0.99 * len(took)) - 1]
    print(
        f"{changes} changes acted on: median {statistics.median(took):.3f} s, p99 {p99:.3f} s, longest {took[-1]:.3f} s"
    )
    asking = (len(api.calls) - calls) / (time.monotonic() - since)
    print(
        f"operator meanwhile: {cores:.2f} cores, {memory:.0f} MB, {asking:.0f} calls/s; load {os.getloadavg()[0]:.1f}"
    )
    print(f"ratio of the median to one GET: {statistics.median(took) / statistics.median(asked):.0f}")
    print(f"targets: p99 under {TARGET_SECONDS} s, under {TARGET_CORES} core, under {TARGET_MB:.0f} MB")
    return int(p99 >= TARGET_SECONDS or cores >= TARGET_CORES or memory >= TARGET_MB)


def _size(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--worlds", choices=("memory", "real"), default="memory")
    given = parser.parse_args()
    sys.exit(main(given.loops, given.changes, given.worlds))
