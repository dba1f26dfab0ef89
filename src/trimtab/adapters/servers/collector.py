"""Service: the one process that takes labels and writes both logs to Parquet."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trimtab.adapters.process import end_orphan
from trimtab.adapters.supervision import Patience, Recipe, SupervisedServer

COLLECTOR = (sys.executable, "-m", "trimtab.serving.collector")


class CollectorProcess:
    """Runs the collector for `home`, its log in `folder`. `ensure` must be called now and then."""

    def __init__(
        self,
        folder: Path,
        *,
        home: Path,
        accept_time_header: bool = False,
        numbers: bool = False,
        command: Sequence[str] = COLLECTOR,
        patience: Patience | None = None,
    ) -> None:
        """End what a killed controller left behind in `folder`. `numbers`: every label must be a number."""
        self._folder, self._home, self._command = folder.resolve(), home.resolve(), tuple(command)
        self._flags = ["--accept-time-header"] * accept_time_header + ["--numbers"] * numbers
        self._patience = patience or Patience()
        self._prober = ThreadPoolExecutor(1, "trimtab-probe")
        self._server: SupervisedServer | None = None
        end_orphan(self._folder / "process.json")

    @property
    def pid(self) -> int:
        """Process id, 0 if it does not run."""
        return self._server.pid if self._server else 0

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return self._server.restarts if self._server else 0

    @property
    def reason(self) -> str:
        """Why it does not answer, in words; "" while it does."""
        return self._server.reason if self._server else "not started"

    def ensure(self) -> str:
        """Start it if it is missing or dead; returns its host:port, or "" while it is not answering yet."""
        if self._server is None:
            recipe = Recipe(self._line, self._folder, ready_path="/healthz", live_path="/healthz")
            self._server = SupervisedServer(recipe, self._patience, self._prober, frozenset)
        self._server.look(time.monotonic())
        return f"127.0.0.1:{self._server.ports[0]}" if self._server.state == "ready" else ""

    def close(self) -> None:
        """Stop it, letting it finish what it has taken."""
        if self._server is not None:
            self._server.leave(time.monotonic())
            self._server.wait(self._patience.stop_seconds)
            self._server = None
        self._prober.shutdown(wait=False, cancel_futures=True)

    def _line(self, ports: Sequence[int]) -> Sequence[str]:
        return [*self._command, "--home", str(self._home), "--host", "127.0.0.1", "--port", str(ports[0]), *self._flags]
