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
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from trimtab.engine.preload import import_all

MOST_LINE_BYTES = 256 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Host:
    """One socket, one child a task."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._tasks: dict[str, int] = {}
        self._imported: set[str] = set()
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
        for pid in self._tasks.values():
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
        host = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, _OURS)  # a child must not act on one with the host's handlers
        try:
            pid = os.fork()
            if pid == 0:
                _become_task(order, self._channel, host)
        except OSError as error:
            self._tell({"id": order["id"], "event": "ended", "status": -1, "reason": f"cannot fork: {error}"})
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
        self._tasks[order["id"]] = pid
        self._tell({"id": order["id"], "event": "started", "pid": pid})

    def _reap(self) -> None:
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


def _become_task(order: dict[str, Any], channel: socket.socket, host: int) -> None:
    """In the child: never returns."""
    code = 70
    try:
        _isolate(order, channel, host)
        code = _execute(order)
    except BaseException:  # noqa: BLE001 - whatever it is, it goes to the log and the child must not return to the host
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _isolate(order: dict[str, Any], channel: socket.socket, host: int) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        os._exit(70)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OURS)
    channel.close()
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    with contextlib.suppress(OSError):  # if memory runs out, the kernel should end a task and not the engine
        Path("/proc/self/oom_score_adj").write_text("500")
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    if "numpy" in sys.modules:  # a fork copies its generator: all tasks would draw the same numbers
        sys.modules["numpy"].random.seed(None)


def _execute(order: dict[str, Any]) -> int:
    """Call kfp's executor_main as the component's command would; returns the exit code."""
    from kfp.dsl.executor_main import executor_main

    _keep_empty_lists()
    program = Path(order["program"])
    program.write_text(order["source"])
    sys.argv = ["executor_main", "--component_module_path", str(program), *order["arguments"]]
    code = 0
    try:
        executor_main()
    except SystemExit as leaving:
        told = leaving.code
        code = told if isinstance(told, int) else int(told is not None)
        if isinstance(told, str):
            print(told, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - the task's own error, shown in its log as an interpreter would
        traceback.print_exc()
        code = 1
    return _wind_up() or code


def _keep_empty_lists() -> None:
    """An input that collects no artifact at all is an empty list; kfp's executor makes None of it."""
    from kfp.dsl.executor import Executor

    def found(executor: Any, name: str) -> Any:
        given = executor.executor_input.get("inputs", {}).get("artifacts", {}).get(name)
        empty = given is not None and not given.get("artifacts")
        return executor.input_artifacts.get(name, [] if empty else None)

    Executor.get_input_artifact = found


def _wind_up() -> int:
    """What an interpreter does at its end: wait for threads, run exit functions, flush."""
    import atexit
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return 1
    return 0


_REHEARSAL = """
from kfp import dsl
from kfp.dsl import *
from typing import *

def rehearse(a: int, data: dsl.Output[dsl.Dataset]) -> str:
    return ""
"""


def _rehearse() -> None:
    """Run kfp's executor once on nothing, so that what it imports and compiles on its first call is paid here."""
    from kfp.dsl.executor_main import executor_main
    from kfp.dsl.types import artifact_types

    path, arguments, root = list(sys.path), sys.argv, artifact_types.CONTAINER_TASK_ROOT
    with tempfile.TemporaryDirectory() as name:
        program = Path(name) / "rehearsal_component.py"
        program.write_text(_REHEARSAL)
        kind = {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}
        artifact = {"name": "data", "uri": f"{name}/data", "type": kind, "metadata": {}}
        told = {
            "inputs": {"parameterValues": {"a": 1}},
            "outputs": {"artifacts": {"data": {"artifacts": [artifact]}}, "outputFile": f"{name}/output.json"},
        }
        sys.argv = ["executor_main", "--component_module_path", str(program), "--executor_input", json.dumps(told)]
        sys.argv += ["--function_to_execute", "rehearse"]
        executor_main()
    sys.path[:], sys.argv, artifact_types.CONTAINER_TASK_ROOT = path, arguments, root
    sys.modules.pop("rehearsal_component", None)


def main() -> None:
    """Entry point; the engine gives the socket's file descriptor."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    _rehearse()
    gc.collect()
    gc.freeze()
    Host(channel).serve()


if __name__ == "__main__":
    main()
