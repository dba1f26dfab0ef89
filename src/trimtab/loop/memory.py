"""How much memory this process and all its children hold, at the most."""

from __future__ import annotations

import contextlib
import threading

import psutil

_EVERY_SECONDS = 0.5


class PeakMemory:
    """Samples the proportional set size (shared pages counted once) of the process tree while the block runs."""

    def __init__(self) -> None:
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        """The highest sample so far, megabytes of 1,000,000 bytes."""
        return self._peak / 1e6

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            self._peak = max(self._peak, _held())


def _held() -> int:
    this = psutil.Process()
    total = 0
    for process in [this, *this.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while it was looked at
            total += process.memory_full_info().pss
    return total
