"""The engine's side of the warm host: started when the first task needs it, started anew when it died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trimtab.engine.host import MOST_LINE_BYTES
from trimtab.errors import TrimtabError

_HOST = "trimtab.engine.host"

# OpenBLAS would start its threads when numpy is imported, that is before the fork. OpenMP's threads spin while they
# wait: beside other busy processes that made a fit of 0.7 s take 36 s; with sleeping ones it takes 3 s.
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Ended:
    """How a task's process ended: `code` is its exit code, `signal` the signal that ended it, `reason` neither.

    `lost`: it ended because the host did, which says nothing about the task.
    """

    code: int = 0
    signal: int = 0
    reason: str = ""
    lost: bool = False

    @property
    def well(self) -> bool:
        """Whether it ended by itself with exit code 0."""
        return not self.code and not self.signal and not self.reason


@dataclass(frozen=True)
class Job:
    """One task's process to be."""

    program: Path
    source: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    folder: Path
    preload: tuple[str, ...] = ()


class WarmHost:
    """Runs jobs in children of one warm process. Safe to use from several threads."""

    def __init__(self, log: Path | None = None) -> None:
        """The host writes what it has to say to `log`, such as warnings of libraries; without one it is not kept."""
        self._log = log
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._waiting: dict[str, tuple[socket.socket, Callable[[Ended], None]]] = {}
        self._pids: dict[str, int] = {}
        self._number = 0
        self._closed = False

    @property
    def pid(self) -> int:
        """Process id of the host; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else 0

    @property
    def idle(self) -> bool:
        """Whether no job is under way."""
        return not self._waiting

    def pid_of(self, name: str) -> int:
        """Process id of a running job; 0 if it has not started or has ended."""
        return self._pids.get(name, 0)

    def run(self, job: Job, ended: Callable[[Ended], None]) -> str:
        """Start the job; `ended` is called once, from another thread, when it is over. Returns the job's name."""
        with self._lock:
            if self._closed:
                raise TrimtabError("the engine is closing: no further task is started")
            self._number += 1
            name = str(self._number)
            channel = self._alive()
            self._waiting[name] = (channel, ended)
            order = {
                "op": "run",
                "id": name,
                "program": str(job.program),
                "source": job.source,
                "arguments": job.arguments,
                "environment": job.environment,
                "log": str(job.log),
                "folder": str(job.folder),
                "preload": job.preload,
            }
            line = json.dumps(order).encode() + b"\n"
            if len(line) > MOST_LINE_BYTES:
                del self._waiting[name]
                raise TrimtabError(f"a task with {len(line) >> 20} MB of inputs: pass data as artifacts")
            with contextlib.suppress(OSError):  # a host that just died: its reader thread tells every waiting job
                channel.sendall(line)
        return name

    def warm(self) -> None:
        """Start the host now, so that the first task need not wait for it."""
        with self._lock:
            if not self._closed:
                self._alive()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a job and to all that it started."""
        with self._lock:
            if self._channel is not None and name in self._waiting:
                order = {"op": "signal", "id": name, "number": int(number)}
                with contextlib.suppress(OSError):
                    self._channel.sendall(json.dumps(order).encode() + b"\n")

    def close(self) -> None:
        """End the host and every job."""
        with self._lock:
            self._closed = True
            channel, process = self._channel, self._process
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
        if process is not None:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _alive(self) -> socket.socket:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        ours, theirs = socket.socketpair()
        environment = {**_THREADS, **os.environ, "_KFP_RUNTIME": "true"}
        try:
            with theirs, self._said() as said:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _HOST, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise TrimtabError(f"cannot start the engine's host process: {error}") from error
        self._channel = ours
        threading.Thread(
            target=self._listen, args=(ours, self._process), name="trimtab-engine-host", daemon=True
        ).start()
        return ours

    def _said(self) -> IO[bytes]:
        if self._log is None:
            return Path(os.devnull).open("ab")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        return self._log.open("ab")

    def _listen(self, channel: socket.socket, process: subprocess.Popen[bytes]) -> None:
        with channel, contextlib.suppress(OSError), channel.makefile("rb") as lines:
            for line in lines:
                self._take(json.loads(line))
        process.wait()
        with self._lock:
            if self._channel is channel:
                self._channel = None
            lost = {name: ended for name, (of, ended) in self._waiting.items() if of is channel}
            pids = [self._pids.pop(name) for name in lost if name in self._pids]
            for name in lost:
                del self._waiting[name]
        for pid in pids:  # the host's end kills its children, not what those started
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        where = f"; its last words may be in {self._log}" if self._log else ""
        for ended in lost.values():
            ended(Ended(reason=f"the engine's host process died{where}", lost=True))

    def _take(self, event: dict[str, Any]) -> None:
        name = event["id"]
        if event["event"] == "started":
            self._pids[name] = event["pid"]
            return
        self._pids.pop(name, None)
        with self._lock:
            waiting = self._waiting.pop(name, None)
        if waiting is not None:
            waiting[1](_ended(event))


def _ended(event: dict[str, Any]) -> Ended:
    if "reason" in event:
        return Ended(reason=event["reason"])
    code = os.waitstatus_to_exitcode(event["status"])
    return Ended(signal=-code) if code < 0 else Ended(code=code)
