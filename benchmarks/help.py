"""How long `trimtab --help` takes beside a bare interpreter and `kfp --help`: python benchmarks/help.py.

Medians of seven runs, taken in turns. Exit code 1 if it takes 0.4 s or more.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET_SECONDS = 0.4
BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "trimtab --help": [str(BIN / "trimtab"), "--help"],
    "kfp --help": [str(BIN / "kfp"), "--help"],
}


def main() -> int:
    """Measure and print."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(7):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:<16} {value:.3f} s")
    ours = medians["trimtab --help"]
    print(f"ratio to kfp --help: {ours / medians['kfp --help']:.2f}; target: under {TARGET_SECONDS} s")
    return int(ours >= TARGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
