"""The demo against its targets, in one run: python benchmarks/demo.py. Exit code 1 if one is missed. Takes minutes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LOOP = Path(__file__).parents[1] / "examples/desert-rodents/loop.yaml"
SPAN = ("--from", "1985-01", "--until", "2003-01")
TARGETS = (
    # figure, at least (or None), at most (or None)
    ("wall_seconds", None, 240),
    ("peak_memory_mb", None, 3000),
    ("predictions", 20_000, None),
    ("lost", None, 0),
    ("duplicated", None, 0),
    ("labels_before_time", None, 0),
    ("accuracy", 0.88, None),
    ("retrains", None, 6),
)


def main() -> int:
    """Run the replay into an empty folder and compare."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trimtab.cli.main", "replay", str(LOOP), *SPAN, "--home", folder, "--json"]
        summary = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    missed = 0
    for name, least, most in TARGETS:
        value = summary[name]
        good = (least is None or value >= least) and (most is None or value <= most)
        missed += not good
        bound = f"at least {least}" if least is not None else f"at most {most}"
        print(f"{name:<20} {value:>12,.3f}   {bound:<18} {'' if good else 'MISSED'}")
    print(f"ratio of errors to the frozen model's: {(1 - summary['accuracy']) / (1 - summary['frozen_accuracy']):.2f}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
