"""A child process that cannot outlive this one, has a log file, and is known by more than its pid (Linux)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

from trimtab.errors import TrimtabError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# prctl(PR_SET_PDEATHSIG, SIGKILL), then become the command. A shim and not preexec_fn: forking Python code out of a
# process with threads can deadlock. The parent may have died before prctl: then there is nobody left to serve.
_SHIM = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit('the parent process is gone')\n"
    "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
    "os.execvp(sys.argv[2], sys.argv[2:])\n"
)


@dataclass(frozen=True)
class Identity:
    """Which process is meant: pids are used again, so the start (clock ticks since boot) and the boot belong to it."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of a process that runs now, else None."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        # The name in parentheses may hold anything; field 22 is the 20th after it.
        return cls(pid, int(stat.rsplit(")", 1)[1].split()[19]), _BOOT.read_text().strip())


class ChildProcess:
    """One child in a session of its own, so that Ctrl-C reaches only the parent, which then stops it in order.

    It is killed by the kernel when this process ends in whatever way. Output is appended to `log`; `record` is a file
    that tells a later parent which process this was. Raises TrimtabError if the command cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        record: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `command` in `folder` with `environment` on top of this process's own."""
        self.log = log
        self._record = record
        shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), *command]
        full = {**os.environ, "TRIMTAB_PARENT_PID": str(os.getpid()), **(environment or {})}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                self._popen = _from_lasting_thread(
                    lambda: subprocess.Popen(  # lives longer than this call: stopped by stop()
                        shim,
                        cwd=folder,
                        env=full,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                    )
                )
            self._remember()
        except OSError as error:
            raise TrimtabError(
                f"cannot start {command[0]} in {folder}: {error}. Free some room or mend the path"
            ) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it started; nothing happens if it has ended."""
        if self.alive:  # not reaped before this line, so the pid is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number) if number == signal.SIGKILL else os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end at most so long; returns whether it ended."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._record.unlink(missing_ok=True)
        return True

    def stop(self, seconds: float) -> None:
        """Ask it to end (SIGTERM), and after `seconds` kill it."""
        self.signal(signal.SIGTERM)
        if not self.wait(seconds):
            self.signal(signal.SIGKILL)
            self.wait(10)

    def ending(self) -> str:
        """How it ended, in words: `exit code 1` or `killed by SIGKILL`; "" while it runs."""
        code = self._popen.poll()
        if code is None:
            return ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def last_lines(self, count: int = 5) -> str:
        """The end of its log."""
        return last_lines(self.log, count)

    def _remember(self) -> None:
        identity = Identity.of(self.pid)
        if identity is not None:
            write_whole(self._record, json.dumps(asdict(identity)))


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old or the new text, never a part."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def end_orphan(record: Path, seconds: float = 5.0) -> bool:
    """End the process that a dead parent left behind, if it is still that very one; returns whether there was one."""
    try:
        found = Identity(**json.loads(record.read_text()))
        handle = os.pidfd_open(found.pid)  # from here on the pid cannot come to mean another process
    except (OSError, ValueError, TypeError):
        record.unlink(missing_ok=True)
        return False
    try:
        same = Identity.of(found.pid) == found and found.pid != os.getpid()
        for number in (signal.SIGTERM, signal.SIGKILL) if same else ():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], seconds)[0]:
                break
    finally:
        os.close(handle)
    record.unlink(missing_ok=True)
    return same


def last_lines(log: Path, count: int = 5, most_bytes: int = 4096) -> str:
    """The last lines of a text file, at most 4 KB; "" if there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - most_bytes))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def trim_log(log: Path, most_bytes: int) -> None:
    """Move what a log holds to `<log>.1` once it is larger; the writer appends, so it goes on at the start."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > most_bytes:
            log.with_name(log.name + ".1").write_bytes(log.read_bytes()[-most_bytes:])
            os.truncate(log, 0)


_spawner: SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]] | None = None
_spawner_lock = threading.Lock()


def _from_lasting_thread(start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start a child from a thread that lasts: the kernel ends it when the *thread* that started it ends (prctl(2))."""
    global _spawner  # noqa: PLW0603 - one thread a process
    if threading.current_thread() is threading.main_thread():
        return start()
    with _spawner_lock:
        if _spawner is None:
            _spawner = SimpleQueue()
            threading.Thread(target=_spawn_forever, args=(_spawner,), name="trimtab-spawner", daemon=True).start()
    future: Future[subprocess.Popen[bytes]] = Future()
    _spawner.put((start, future))
    return future.result()


def _spawn_forever(
    queue: SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[subprocess.Popen[bytes]]]],
) -> None:
    while True:
        start, future = queue.get()
        try:
            future.set_result(start())
        except OSError as error:
            future.set_exception(error)


def _forget_spawner() -> None:
    global _spawner  # noqa: PLW0603 - a forked process has none of its parent's threads
    _spawner = None


os.register_at_fork(after_in_child=_forget_spawner)
