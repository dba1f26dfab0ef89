"""One HTTP server as a child process, kept alive by looking at it now and then; no look waits for anything.

::

    starting ──ready probe──► ready ──death, or several live probes failed──► starting again after a pause
        └── dies quickly N times, or is not ready in time ──► failed (tried again, after longer and longer pauses)
"""

from __future__ import annotations

import http.client
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trimtab.adapters.listening import free_port, is_free
from trimtab.adapters.process import ChildProcess, end_orphan, trim_log

_LOG_BYTES = 4 * 1024 * 1024
# One request at a time is computed, so more threads only cost memory and cores of the other servers.
_SMALL = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "MALLOC_ARENA_MAX": "2",
    "PYTHONUNBUFFERED": "1",
}
Probe = Literal["yes", "no", "silent"]


@dataclass(frozen=True)
class Patience:
    """How long things may take, in seconds, and how often they may go wrong."""

    start_seconds: float = 120.0
    probe_seconds: float = 3.0  # a server computes while it is probed, so not too short
    probe_every_seconds: float = 0.5
    silent_probes: int = 3
    quick_seconds: float = 10.0  # a server that lives no longer than this after it became ready died quickly
    quick_deaths: int = 3
    pause_seconds: float = 0.5  # before the second start, and twice as long before each further one
    longest_pause_seconds: float = 60.0
    drain_seconds: float = 2.0  # between the last wish for a server and its SIGTERM: the router moves away first
    stop_seconds: float = 15.0


@dataclass(frozen=True)
class Recipe:
    """How to start one server: the command for its ports, and where it is asked how it is.

    `ports` says how many ports it takes; the first one answers `ready_path` and `live_path` with 200.
    """

    command: Callable[[Sequence[int]], Sequence[str]]
    folder: Path
    ports: int = 1
    ready_path: str = "/v2/health/ready"
    live_path: str = "/v2/health/live"


class SupervisedServer:
    """The process of one recipe. `look` is called every turn with the time in monotonic seconds."""

    def __init__(
        self, recipe: Recipe, patience: Patience, prober: Executor, taken: Callable[[], frozenset[int]]
    ) -> None:
        """`taken` tells the ports of the other servers: a port of one must never come to answer for another."""
        self._recipe, self._patience, self._prober, self._taken = recipe, patience, prober, taken
        self.log = recipe.folder / "server.log"
        self.ports: tuple[int, ...] = ()
        self.state: Literal["starting", "ready", "failed"] = "starting"
        self.reason = ""
        self.starts = 0
        self._process: ChildProcess | None = None
        self._deaths = 0  # quick ones in a row
        self._silent = 0
        self._since = 0.0  # when it was started, or became ready
        self._next_start = 0.0
        self._next_probe = 0.0
        self._told_to_stop: float | None = None
        self._probe: Future[Probe] | None = None
        recipe.folder.mkdir(parents=True, exist_ok=True)
        end_orphan(self._record)

    @property
    def pid(self) -> int:
        """Process id, 0 if it does not run."""
        return self._process.pid if self._process and self._process.alive else 0

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return max(0, self.starts - 1)

    def look(self, now: float) -> None:
        """Note what happened since the last look, and start what has to be started."""
        if self._process is not None and not self._process.alive:
            self._bury(now, self._process.ending())
        if self._process is None:
            if now >= self._next_start:
                self._start(now)
            return
        self._take_probe(now)
        if self._process is not None and self.state == "starting" and now - self._since > self._patience.start_seconds:
            self._end(now, f"not ready {self._patience.start_seconds:g} s after its start", for_good=True)

    def leave(self, now: float) -> bool:
        """Stop it without waiting: SIGTERM at the first call, SIGKILL when its time is over. Whether it has ended."""
        if self._process is None:
            return True
        if self._told_to_stop is None:
            self._told_to_stop = now
            self._process.signal(signal.SIGTERM)
        elif now - self._told_to_stop > self._patience.stop_seconds:
            self._process.signal(signal.SIGKILL)
        return self._process.wait(0)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended after `leave`, kill it if that takes longer."""
        if self._process is not None and not self._process.wait(max(0.0, seconds)):
            self._process.stop(0)

    @property
    def leaving(self) -> bool:
        """Whether it was told to stop."""
        return self._told_to_stop is not None

    @property
    def _record(self) -> Path:
        return self._recipe.folder / "process.json"

    def _start(self, now: float) -> None:
        if not self.ports or not all(is_free("127.0.0.1", port) for port in self.ports):
            chosen: set[int] = set()
            while len(chosen) < self._recipe.ports:
                chosen.add(free_port(avoid=self._taken() | chosen))
            self.ports = tuple(sorted(chosen))
        trim_log(self.log, _LOG_BYTES)
        self._process = ChildProcess(
            self._recipe.command(self.ports),
            folder=self._recipe.folder,
            log=self.log,
            record=self._record,
            environment=_SMALL,
        )
        self.starts += 1
        self._since, self._next_probe, self._silent, self._probe = now, now, 0, None

    def _take_probe(self, now: float) -> None:
        if self._probe is not None and self._probe.done():
            answer = self._probe.result()
            self._probe = None
            if self.state != "ready":
                if answer == "yes":
                    self.state, self.reason, self._since = "ready", "", now
            else:
                self._silent = 0 if answer == "yes" else self._silent + 1
                if self._silent >= self._patience.silent_probes:
                    bound = self._patience.probe_seconds
                    said = "no answer" if answer == "silent" else "it says that it hangs, the answer"
                    self._end(now, f"{said} to {self._silent} probes within {bound:g} s each")
                    return
        if self._probe is None and now >= self._next_probe:
            ready = self.state == "ready"
            path = self._recipe.live_path if ready else self._recipe.ready_path
            self._next_probe = now + self._patience.probe_every_seconds * (1.0 if ready else 0.2)
            self._probe = self._prober.submit(_ask, self.ports[0], path, self._patience.probe_seconds)

    def _end(self, now: float, why: str, for_good: bool = False) -> None:
        """Kill a server that does not do its work."""
        assert self._process is not None  # noqa: S101 - callers looked
        self._process.stop(0)
        self._bury(now, why, for_good)

    def _bury(self, now: float, why: str, for_good: bool = False) -> None:
        """Decide when to start it again, and whether it counts as failed."""
        assert self._process is not None  # noqa: S101 - callers looked
        self._process.wait(0)  # forgets the record of a process that is no more
        lived = now - self._since if self.state == "ready" else 0.0
        self._deaths = 1 if lived > self._patience.quick_seconds else self._deaths + 1
        if self.state != "ready":
            self.ports = ()  # perhaps it was the port
        said = self._process.last_lines(5)
        self.reason = f"{why}{'; its log ends: ' + said if said else ''}. Its log: {self.log}"
        self._process, self._probe = None, None
        failed = for_good or self._deaths >= self._patience.quick_deaths or self.state == "failed"
        self.state = "failed" if failed else "starting"
        pause = min(
            self._patience.pause_seconds * 2.0 ** min(self._deaths - 1, 16), self._patience.longest_pause_seconds
        )
        self._next_start = now + (self._patience.longest_pause_seconds if for_good else pause)


def _ask(port: int, path: str, seconds: float) -> Probe:
    """Whether a server on loopback answers 200 (`yes`), something else (`no`), or not in time (`silent`)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        return "yes" if connection.getresponse().status == 200 else "no"
    except (OSError, http.client.HTTPException):
        return "silent"
    finally:
        connection.close()
