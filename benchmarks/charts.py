"""`helm template` of every chart with the switches that render most: python benchmarks/charts.py [ROUNDS]

The baseline of the ratio is `helm version` in the same run: what starting helm costs. Exit code 1 if a target is
missed.
"""

import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests/helm")]

from rendering import NO_HELM, helm, helms, template  # noqa: E402
from switches import SWITCHES  # noqa: E402

TARGET_SECONDS = 2.0
MOST = {
    "trimtab": ("monitors", "rules", "dashboard"),
    "model-release": ("shadow and challenger", "standard, more", "gateway, shadow"),
    "drift-monitor": ("fetched with a secret", "operator"),
}


def seconds(executable: str, chart: str, switch: str) -> float:
    """One rendering."""
    began = time.perf_counter()
    done = template(executable, chart, SWITCHES[chart][switch])
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began


def main(rounds: int) -> int:
    """Measure and print."""
    if not helms():
        print(NO_HELM)
        return 1
    missed = 0
    for executable in helms():
        started = []
        for _ in range(rounds):
            began = time.perf_counter()
            name = helm(executable, "version", "--short").stdout.strip()
            started.append(time.perf_counter() - began)
        bare = statistics.median(started)
        for chart, switches in MOST.items():
            worst, switch = max(
                (statistics.median(seconds(executable, chart, one) for _ in range(rounds)), one) for one in switches
            )
            missed += worst > TARGET_SECONDS
            print(
                f"helm {name.partition('+')[0]} template {chart} ({switch}): {worst:.2f} s, target {TARGET_SECONDS} s; "
                f"{worst / bare:.1f} times `helm version` ({bare:.2f} s)"
            )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
