"""One pod on the node for tests: its process, its folder, and what its status says."""

from __future__ import annotations

import http.client
import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.adapters.process import ChildProcess, last_lines

Json = dict[str, Any]
PROBE_EVERY_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_CRASHES = 2  # from the third start on a pause is called CrashLoopBackOff


class Pod:
    """A pod with one container. Times are monotonic seconds."""

    def __init__(self, body: Json, root: Path, ip: str) -> None:
        self.body, self.ip = body, ip
        meta = body["metadata"]
        self.name, self.namespace = str(meta["name"]), str(meta["namespace"])
        self.spec: Json = body["spec"]
        self.container: Json = self.spec["containers"][0]
        self.folder = root / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process: ChildProcess | None = None
        self.restarts, self.not_before = 0, 0.0
        self.ready, self.done, self.phase = False, False, "Pending"
        self._waiting: Json = {"reason": "ContainerCreating"}
        self._last: Json | None = None
        self._started = ""
        self._places: dict[str, Path] = {}
        self._synced, self._annotations = 0.0, ""
        self._probing: Future[bool] | None = None
        self._probed, self._deaf, self._was_ready = 0.0, 0, False

    @property
    def grace_seconds(self) -> float:
        """Between SIGTERM and SIGKILL."""
        return float(self.spec.get("terminationGracePeriodSeconds", 30))

    def place(self, path: str, name: str) -> Path:
        """Where a volume lies here that is mounted at `path`."""
        folder = self.folder / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        self._places[path] = folder
        return folder

    def lies(self, path: str, folder: Path) -> None:
        """What is mounted at `path` is this folder."""
        self._places[path] = folder

    def moved(self, text: str) -> str:
        """The text with mount paths as they are here: a process has no mounts of its own."""
        if not self._places:
            return text
        paths = "|".join(re.escape(path) for path in sorted(self._places, key=len, reverse=True))
        return re.sub(rf"(?<![\w/])({paths})(?![\w.-])", lambda found: str(self._places[found[1]]), text)

    def wants_sync(self, now: float, every: float) -> bool:
        """The kubelet looks at a pod's volumes now and then, and at once when the pod changed."""
        return now - self._synced > every or self._annotations != str(self.body["metadata"].get("annotations"))

    def synced(self, now: float) -> None:
        """Its volumes are up to date."""
        self._synced, self._annotations = now, str(self.body["metadata"].get("annotations"))

    def waits(self, reason: str, message: str = "") -> None:
        """It does not run, and why."""
        self._waiting = {"reason": reason, "message": message}

    def runs(self, now: float) -> None:
        """Its process was started."""
        self.phase, self._started, self._deaf, self._probed = "Running", _stamp(), 0, now
        self._was_ready = False
        self.ready = not self._probes()

    def ended(self, now: float) -> None:
        """Its process has ended: it is started again, or that was it."""
        assert self.process is not None
        number = _exit_code(self.process.ending())
        self.process, self.ready, self._probing = None, False, None
        reason = "Completed" if number == 0 else "Error"
        said = last_lines(self.folder / "log", 5)[-2000:]
        ended = {"exitCode": number, "reason": reason, "startedAt": self._started, "finishedAt": _stamp()}
        self._last = {**ended, **({"message": said} if self._tells() and number else {})}
        if self.spec.get("restartPolicy", "Always") == "Never" or (
            self.spec.get("restartPolicy") == "OnFailure" and number == 0
        ):
            self.done, self.phase = True, "Succeeded" if number == 0 else "Failed"
            return
        self.restarts += 1
        pause = 0.0 if self.restarts <= _CRASHES else min(0.1 * 2**self.restarts, _LONGEST_PAUSE_SECONDS)
        self.not_before = now + pause
        if pause:
            self.waits("CrashLoopBackOff", f"back-off {pause:.1f}s restarting failed container")
        else:
            self.waits("ContainerCreating")

    def probe(self, pool: ThreadPoolExecutor, now: float) -> None:
        """Ask whether it is ready (or has started) and, once it was, whether it lives."""
        probes = self._probes()
        if not probes:
            return
        if self._probing is not None and self._probing.done():
            self._heard(self._probing.result())
            self._probing = None
        elif self._probing is None and now - self._probed >= PROBE_EVERY_SECONDS:
            self._probed = now
            self._probing = pool.submit(_answers, self.ip, probes[0], self._port(probes[0]))

    def _heard(self, well: bool) -> None:
        """Readiness stands for liveness too, with more patience, once it was ready."""
        self._deaf = 0 if well else self._deaf + 1
        bound = int((self.container.get("readinessProbe") or {}).get("failureThreshold", 3))
        self.ready = well or (self.ready and self._deaf < bound)
        self._was_ready = self._was_ready or well
        live = self.container.get("livenessProbe")
        if live and self._was_ready and self._deaf > 5 * int(live.get("failureThreshold", 3)) and self.process:
            self.process.stop(0)

    def _probes(self) -> list[Json]:
        found = [self.container.get(name) for name in ("readinessProbe", "startupProbe")]
        return [one["httpGet"] for one in found if one and "httpGet" in one]

    def _port(self, get: Json) -> int:
        port = get["port"]
        if isinstance(port, int):
            return port
        return next(int(one["containerPort"]) for one in self.container["ports"] if one["name"] == port)

    def _tells(self) -> bool:
        return self.container.get("terminationMessagePolicy") == "FallbackToLogsOnError"

    def status(self) -> Json:
        """Its status as the API server has it."""
        if self.done:
            state: Json = {"terminated": self._last}
        elif self.process is not None:
            state = {"running": {"startedAt": self._started}}
        else:
            state = {"waiting": self._waiting}
        one: Json = {"name": self.container["name"], "ready": self.ready, "restartCount": self.restarts}
        one |= {"image": self.container["image"], "imageID": "", "state": state}
        one |= {"containerID": f"test://{self.process.pid}" if self.process is not None else ""}
        one |= {"lastState": {"terminated": self._last} if self._last and not self.done else {}}
        ready = "True" if self.ready else "False"
        return {
            "phase": self.phase,
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")],
            "containerStatuses": [one],
        }


@dataclass
class Leaving:
    """A pod that was deleted: its hook runs, then it is asked to end, then it is made to."""

    process: ChildProcess
    hook: ChildProcess | None
    until: float
    asked: bool = False

    def goes_on(self, now: float) -> bool:
        """One look; whether it is still there afterwards."""
        if not self.asked and (self.hook is None or not self.hook.alive):
            self.asked = True
            self.process.signal(signal.SIGTERM)
        if self.process.alive and now <= self.until:
            return True
        for process in (self.process, self.hook):
            if process is not None:
                process.stop(0)
        return False


def _answers(ip: str, get: Json, port: int) -> bool:
    connection = http.client.HTTPConnection(ip, port, timeout=2)
    try:
        connection.request("GET", get.get("path", "/"))
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _exit_code(ending: str) -> int:
    """As a container runtime numbers them: 128 and the signal."""
    word = ending.rpartition(" ")[2]
    return 128 + signal.Signals[word].value if word.startswith("SIG") else int(word)


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
