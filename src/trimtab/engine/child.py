"""What a forked child of the warm host does: isolate itself, then call kfp's own executor."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)  # that the host has handlers for; blocked while it forks


def await_task(feed: int, channel: socket.socket, host: int) -> NoReturn:
    """In the child: become the task that is read from the pipe `feed`, or end if there is none. Never returns."""
    code = 70
    try:
        _isolate(channel, host)
        with os.fdopen(feed, "rb") as orders:
            line = orders.read()
        if line:
            order = json.loads(line)
            _settle(order)
            code = _execute(order)
    except BaseException:  # noqa: BLE001 - whatever it is, it goes to the log and the child must not return to the host
        with contextlib.suppress(Exception):
            traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _isolate(channel: socket.socket, host: int) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        os._exit(70)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    channel.close()
    with contextlib.suppress(OSError):  # if memory runs out, the kernel should end a task and not the engine
        Path("/proc/self/oom_score_adj").write_text("500")


def _settle(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
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


def rehearse() -> None:
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
