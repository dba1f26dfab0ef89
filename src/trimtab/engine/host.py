"""The warm parent: imports kfp once and forks a child per task, which calls kfp's own executor.

`python -P -m trimtab.engine.host FD` speaks JSON lines over the socket FD:

    in   {"op": "run", "id", "program", "source", "arguments", "environment", "log", "folder", "preload"}
         {"op": "signal", "id", "number"}
    out  {"id", "event": "started", "pid"}   {"id", "event": "ended", "status"}   (a wait status, or -1: not started)

It has one thread and starts none, so that forking is safe. It ends, and ends its children with all they started, when
the socket closes: that is when the engine ends in whatever way.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

from trimtab.engine.child import HANDLED, await_task, rehearse
from trimtab.engine.preload import import_all

MOST_LINE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Spare:
    """A child that waits for an order on a pipe, so that forking costs no task any time."""

    pid: int
    feed: int


class Host:
    """One socket, one child a task."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._tasks: dict[str, int] = {}
        self._imported: set[str] = set()
        self._spare: Spare | None = None
        self._buffer = bytearray()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._parent = os.getppid()

    def serve(self) -> None:
        """Until the engine is gone."""
        signal.set_wakeup_fd(self._waker)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.end())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the engine, which then tells us
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        try:
            while os.getppid() == self._parent:
                if self._spare is None and not poll.poll(0):  # nothing to do: have the next child ready
                    with contextlib.suppress(OSError):  # no process to be had now: the next task says so
                        self._spare = self._fork()
                ready = {fd for fd, _ in poll.poll(1000)}
                if self._wake in ready:
                    os.read(self._wake, 4096)
                self._reap()
                if self._channel.fileno() in ready and not self._receive():
                    break
        finally:
            self.end()

    def end(self) -> None:
        """Kill every child with what it started, and exit."""
        for pid in (*self._tasks.values(), *([self._spare.pid] if self._spare else [])):
            _signal_group(pid, signal.SIGKILL)
        os._exit(0)

    def _receive(self) -> bool:
        received = self._channel.recv(1 << 20)
        self._buffer += received
        if len(self._buffer) > MOST_LINE_BYTES:
            return False
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._obey(json.loads(line))
        return bool(received)

    def _obey(self, order: dict[str, Any]) -> None:
        if order["op"] == "signal":
            pid = self._tasks.get(order["id"])
            if pid is not None:
                _signal_group(pid, order["number"])
            return
        if import_all(order["preload"], self._imported):
            gc.collect()
            gc.freeze()  # the collector of a child then leaves shared pages alone
            self._drop_spare()  # it was forked before the imports
        try:
            try:
                pid = self._hand_over(order)
            except BrokenPipeError:  # the spare child was killed while it waited
                pid = self._hand_over(order)
        except OSError as error:
            self._tell({"id": order["id"], "event": "ended", "status": -1, "reason": f"cannot fork: {error}"})
            return
        self._tasks[order["id"]] = pid
        self._tell({"id": order["id"], "event": "started", "pid": pid})

    def _hand_over(self, order: dict[str, Any]) -> int:
        """Give the order to the spare child, or to a new one; returns its process id."""
        spare, self._spare = self._spare or self._fork(), None
        try:
            with os.fdopen(spare.feed, "wb") as feed:
                feed.write(json.dumps(order).encode())
        except BrokenPipeError:
            _signal_group(spare.pid, signal.SIGKILL)
            os.waitpid(spare.pid, 0)
            raise
        return spare.pid

    def _fork(self) -> Spare:
        """A child that waits for its order."""
        host = os.getpid()
        end, feed = os.pipe2(os.O_CLOEXEC)
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # a child must not act on one with the host's handlers
        try:
            pid = os.fork()
            if pid == 0:
                os.close(feed)
                await_task(end, self._channel, host)
        except OSError:
            os.close(feed)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            os.close(end)
        return Spare(pid, feed)

    def _drop_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare.feed)
            _signal_group(self._spare.pid, signal.SIGKILL)
            os.waitpid(self._spare.pid, 0)
            self._spare = None

    def _reap(self) -> None:
        spare = self._spare
        if spare is not None and os.waitid(os.P_PID, spare.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            self._drop_spare()
        for name, pid in list(self._tasks.items()):
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None:
                continue
            _signal_group(pid, signal.SIGKILL)  # before reaping: until then the number belongs to this task
            _, status = os.waitpid(pid, 0)
            del self._tasks[name]
            self._tell({"id": name, "event": "ended", "status": status})

    def _tell(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then the next receive ends us
            self._channel.sendall(json.dumps(event).encode() + b"\n")


def _signal_group(pid: int, number: int) -> None:
    """Signal a task and all it started; one that was forked this moment may not lead its group yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)


def main() -> None:
    """Entry point; the engine gives the socket's file descriptor."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    rehearse()
    gc.collect()
    gc.freeze()
    Host(channel).serve()


if __name__ == "__main__":
    main()
