"""The engine beside kfp.local, in one run: python benchmarks/engine.py. Exit code 1 if a target is missed."""

import contextlib
import io
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore", category=FutureWarning)

from kfp import compiler, components, dsl, local  # noqa: E402

from trimtab.adapters.runs.sql import SqlRuns  # noqa: E402
from trimtab.adapters.sql import ledger_engine  # noqa: E402
from trimtab.engine.execution import Options  # noqa: E402
from trimtab.engine.load import load  # noqa: E402
from trimtab.engine.run import default_jobs, prepare  # noqa: E402
from trimtab.engine.warm import WarmHost  # noqa: E402

IMAGE = "python:3.11"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def add_one(number: int) -> int:
    return number + 1


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def rest(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


@dsl.pipeline(name="chain-pipeline")
def chain(start: int = 0) -> int:
    value: Any = start
    for _ in range(10):
        value = add_one(number=value).output
    return value


@dsl.pipeline(name="sleeps-pipeline")
def sleeps() -> None:
    for _ in range(4):
        rest(seconds=1.5)


class Bench:
    """A folder with a ledger, and runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqlRuns(ledger_engine(folder / "ledger.db"))
        self._number = 0

    def compile(self, pipeline: Any) -> Path:
        path = self.folder / f"{pipeline.name}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return path

    def seconds(self, path: Path, *, cache: bool, host: WarmHost | None = None) -> float:
        """From the YAML to the end of the run, the start of the host included unless one is given."""
        started = time.perf_counter()
        own = host or WarmHost()
        self._number += 1
        run = prepare(self.store, self.folder / "runs", f"run-{self._number}", load(path), {})
        ended = run.execute(own, Options(default_jobs(), cache))
        taken = time.perf_counter() - started
        if host is None:
            own.close()
        if ended.state != "SUCCEEDED":
            sys.exit(f"{path}: {ended.state}: {ended.reason}")
        return taken


def kfp_local_seconds(path: Path, folder: Path) -> float:
    """kfp.local's best setting: no virtual environment, no pip."""
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "local"), raise_on_error=True)
    pipeline = components.load_component_from_file(str(path))
    logging.disable(logging.CRITICAL)
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        pipeline()
    return time.perf_counter() - started


def main() -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        chained, rested = bench.compile(chain), bench.compile(sleeps)
        cold = bench.seconds(chained, cache=False)
        with contextlib.closing(WarmHost()) as host:
            bench.seconds(chained, cache=False, host=host)
            warm = min(bench.seconds(chained, cache=False, host=host) for _ in range(3))
        cached = bench.seconds(chained, cache=True)
        four = bench.seconds(rested, cache=False)
        other = min(kfp_local_seconds(chained, bench.folder) for _ in range(2))
    print(f"ten chained tasks        kfp.local {other:6.2f} s   engine {cold:5.2f} s cold, {warm:5.2f} s warm")
    print(f"the host's start, once a process: {cold - warm:.2f} s (kfp.local imports kfp before the clock starts)")
    print(f"ratio to kfp.local, that included {cold / other:5.3f}   (not judged: see benchmarks/README.md)")
    rows = [
        ("ratio to kfp.local, host warm", warm / other, 1 / 8),
        ("four sleeps of 1.5 s, seconds", four, 2.0),
        ("everything cached, seconds", cached, 0.2),
    ]
    for label, value, target in rows:
        print(f"{label:32} {value:6.3f}   target at most {target:.3f}   {'ok' if value <= target else 'MISSED'}")
    return int(any(value > target for _, value, target in rows))


if __name__ == "__main__":
    sys.exit(main())
