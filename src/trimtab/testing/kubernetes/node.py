"""A node for tests: pods of the test API server run as real processes of this machine.

Commands, environment, probes, restarts, exit codes, deletion with preStop and SIGTERM, and ConfigMap volumes with the
kubelet's `..data` link are real; each pod has an address of its own in 127/8, each Service one that is relayed to its
ready pods (`services.py`), and `workloads.py` makes pods for Deployments and Jobs.

What it does not do: pull images (a pod whose image is not in `images` waits in ImagePullBackOff, any other runs the
Python of this process), isolate anything, run more than one container or an init container, enforce resources or
security contexts, mount anything (a mountPath in a pod's command, arguments and environment is written as what lies
here), keep secrets, schedule. A pod's network is this machine's: a server must bind to $(POD_IP). Probes come every
0.2 s and restarts pause shortly.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from trimtab.adapters.process import ChildProcess, last_lines
from trimtab.testing.kubernetes.pods import Leaving, Pod
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.services import Services, loopback
from trimtab.testing.kubernetes.workloads import Workloads

Json = dict[str, Any]
_TICK_SECONDS = 0.03
_PYTHON = frozenset({"python", "python3"})
_VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


class Node:
    """A context manager. `images` that are there (None: all); `sync_seconds`: how late a pod hears of a ConfigMap."""

    def __init__(
        self,
        api: KubernetesApi,
        folder: Path,
        claims: Mapping[str, Path],
        images: Collection[str] | None = None,
        sync_seconds: float = 60.0,
    ) -> None:
        self.api, self.folder, self.claims, self.images = api, folder, dict(claims), images
        self.sync_seconds = sync_seconds
        self.troubles: list[str] = []
        self.pods: dict[str, Pod] = {}  # by uid
        self._leaving: list[Leaving] = []
        self._services = Services(api)
        self._workloads = Workloads(api)
        self._prober = ThreadPoolExecutor(4, "probe")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)

    def __enter__(self) -> Node:
        self._services.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for pod in self.pods.values():
            if pod.process is not None:
                pod.process.stop(0)
        for one in self._leaving:
            one.goes_on(float("inf"))
        self._services.close()
        self._prober.shutdown(wait=False, cancel_futures=True)

    def of(self, name: str) -> list[Pod]:
        """Pods that run and whose names begin so."""
        found = [pod for pod in self.pods.values() if pod.name.startswith(name)]
        return [pod for pod in found if pod.process is not None and pod.process.alive]

    def log(self, name: str) -> str:
        """The last lines of all pods whose names begin so, dead ones too."""
        logs = sorted(self.folder.glob(f"{name}*/log"))
        return "\n".join(f"--- {one.parent.name}\n{last_lines(one, 40)}" for one in logs)

    def _run(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            try:
                self._services.step()  # first: what a Deployment calls ready can be reached
                self._workloads.step()
                self._step(time.monotonic())
            except ApiRefused as error:  # an object went away between a look and a write
                self.troubles.append(str(error))
            except Exception:  # noqa: BLE001 - the next tick tries again; tests look at `troubles`
                self.troubles.append(traceback.format_exc())

    def _step(self, now: float) -> None:
        there = {one["metadata"]["uid"]: one for one in self.api.objects("/api/v1/pods")}
        for uid in [uid for uid in self.pods if uid not in there]:
            pod = self.pods.pop(uid)
            if pod.process is not None and pod.process.alive:
                self._leaving.append(Leaving(pod.process, self._before_stop(pod), now + pod.grace_seconds))
        self._leaving = [one for one in self._leaving if one.goes_on(now)]
        for uid, body in there.items():
            if uid not in self.pods:
                self.pods[uid] = Pod(body, self.folder, loopback())
            pod = self.pods[uid]
            before = pod.status()
            pod.body = body
            self._tend(pod, now)
            if pod.status() != before or not body.get("status"):
                path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/status"
                self.api.request("PATCH", path, {"status": pod.status()}, "application/merge-patch+json")

    def _tend(self, pod: Pod, now: float) -> None:
        """One look at one pod."""
        if pod.done:
            return
        if pod.process is None:
            self._begin(pod, now)
        elif not pod.process.alive:
            pod.ended(now)
        else:
            if pod.wants_sync(now, self.sync_seconds):
                self._mount(pod, now)
            pod.probe(self._prober, now)

    def _begin(self, pod: Pod, now: float) -> None:
        if now < pod.not_before:
            return
        image = pod.container["image"]
        if self.images is not None and image not in self.images:
            pod.waits("ImagePullBackOff", f'Back-off pulling image "{image}": not found')
            return
        missing = self._mount(pod, now)
        if missing:
            pod.waits("ContainerCreating", missing)
            return
        pod.process = _process(pod, [*pod.container.get("command", []), *pod.container.get("args", [])], "process")
        pod.runs(now)

    def _before_stop(self, pod: Pod) -> ChildProcess | None:
        """The hook that the kubelet runs before it sends SIGTERM."""
        hook = ((pod.container.get("lifecycle") or {}).get("preStop") or {}).get("exec")
        return _process(pod, hook["command"], "hook") if hook else None

    def _mount(self, pod: Pod, now: float) -> str:
        """Bring the pod's volumes up to date; what is missing, in words."""
        volumes = {one["name"]: one for one in pod.spec.get("volumes") or ()}
        for mount in pod.container.get("volumeMounts") or ():
            volume, place = volumes[mount["name"]], mount["mountPath"]
            if "persistentVolumeClaim" in volume:
                name = volume["persistentVolumeClaim"]["claimName"]
                if name not in self.claims:
                    return f'persistentvolumeclaim "{name}" not found'
                source = self.claims[name] / mount.get("subPath", "")
                source.mkdir(parents=True, exist_ok=True)
                if Path(place) != source:
                    pod.lies(place, source)
                continue
            if place == "/tmp":  # noqa: S108 - TMPDIR says where
                continue
            folder = pod.place(place, mount["name"])
            if "configMap" in volume:
                missing = self._write(pod, folder, volume["configMap"]["name"])
                if missing:
                    return missing
        pod.synced(now)
        return ""

    def _write(self, pod: Pod, folder: Path, name: str) -> str:
        """As the kubelet does: the files in a folder of their own, then the link `..data` is moved to it."""
        path = f"/api/v1/namespaces/{pod.namespace}/configmaps/{name}"
        try:
            found = self.api.request("GET", path)
        except ApiRefused:
            return f'configmap "{name}" not found'
        version = f"..{found['metadata']['resourceVersion']}"
        if (folder / version).exists():
            return ""
        (folder / version).mkdir()
        for key, text in (found.get("data") or {}).items():
            (folder / version / key).write_text(pod.moved(text))
            if not (folder / key).is_symlink():
                (folder / key).symlink_to(Path("..data") / key)
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").rename(folder / "..data")
        return ""


def _process(pod: Pod, words: list[str], name: str) -> ChildProcess:
    """A command in the pod, with its environment and its mounts."""
    environment = {one["name"]: _value(one, pod) for one in pod.container.get("env") or ()}
    command = [pod.moved(_VARIABLE.sub(lambda found: environment.get(found[1], found[0]), word)) for word in words]
    if command[0] in _PYTHON:
        command[0] = sys.executable
    environment["TMPDIR"] = str(pod.folder)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return ChildProcess(
        command,
        folder=pod.folder,
        log=pod.folder / "log",
        record=pod.folder / f"{name}.json",
        environment={key: pod.moved(value) for key, value in environment.items()},
    )


def _value(entry: Mapping[str, Any], pod: Pod) -> str:
    field = ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath")
    fields = {"status.podIP": pod.ip, "metadata.name": pod.name, "metadata.namespace": pod.namespace}
    return fields[field] if field else str(entry.get("value", ""))
