"""Running trimtab as a person does, and waiting for what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

from trimtab.testing.bundles import rows

T = TypeVar("T")
TRIMTAB = (sys.executable, "-m", "trimtab.cli.main")


def until(found: Callable[[], T | None], seconds: float = 90) -> T:
    """Poll until something is found; AssertionError after that time."""
    give_up = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < give_up, f"not within {seconds} s"
        time.sleep(0.05)


def trimtab(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run a command in the folder; returns its stdout."""
    ended = subprocess.run([*TRIMTAB, *arguments], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == code, f"{arguments} ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr
    return ended.stdout if code == 0 else ended.stdout + ended.stderr


def told(folder: Path, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return json.loads(trimtab(folder, *arguments, "--json"))


def csv(folder: Path, n: int = 600) -> Path:
    """Made rodents, an hour apart, as a person's own CSV: with columns of no use, called as nobody should call them."""
    path = folder / "rodents.csv"
    useless = {"version": "field book 3", "prediction": None}
    rows(n).drop(columns=["_id", "_time"]).assign(**useless).to_csv(path, index=False)
    return path


class Up:
    """A running `trimtab up`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.log = folder / "up.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*TRIMTAB, "up", "--port", "0", "--every", "0.5", *arguments], cwd=folder, stdout=output, stderr=output
            )
        self._began = self.log.stat().st_size

    @property
    def address(self) -> str:
        """Its http://host:port, once a version is ready."""
        return until(self._ready)

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_bytes()[self._began :].decode()

    def _ready(self) -> str:
        text = self.said
        assert self.process.poll() is None, text
        return text.partition("is ready at ")[2].partition("/v1/")[0] if "is ready at " in text else ""

    def family(self) -> list[psutil.Process]:
        """Every process it started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it; returns the exit code."""
        os.kill(self.process.pid, number)
        return self.process.wait(60)


@contextmanager
def up(folder: Path, *arguments: str) -> Iterator[Up]:
    """`trimtab up` that is gone at the end."""
    running = Up(folder, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop(signal.SIGKILL)


def post(url: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of a POST."""
    sent = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
    )
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
