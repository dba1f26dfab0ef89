"""PipelineRunner: one Kubernetes Job a run, whose pod runs the local engine in the runtime image.

What the run is asked for lies in a file of the loop's home, so that no argument or object bounds its size; how it
stands is in the store of runs, which the pod writes, and in the Job. An ending is written to the store before the Job
may vanish, so a finished run stays finished. A pod that dies is followed by another that resumes the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trimtab.adapters.cluster import JOBS, PODS, Cluster, Conflict
from trimtab.adapters.process import write_whole
from trimtab.adapters.workloads import Place, object_name, pod_template, why_waiting
from trimtab.engine import parameters
from trimtab.engine.importer import refuse_remote
from trimtab.engine.load import load
from trimtab.engine.naming import run_id as id_of
from trimtab.engine.naming import segment
from trimtab.errors import StorageFull
from trimtab.ports.pipelines import PipelineRunner, RunRequest, RunView
from trimtab.ports.runs import RunRecord, RunStore

Json = dict[str, Any]
JOB = "job"
RUN = "trimtab.dev/run"
FAILED, REFUSED, BUSY = 1, 2, 75  # exit codes of the pod; the first two are not tried again
_HOPELESS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
COMMAND = ("python", "-m", "trimtab.cli.pipeline_job")


@dataclass(frozen=True)
class Bounds:
    """How long a run may take, how often its pod is replaced, and how long a pod may fail to start."""

    seconds: int = 6 * 3600
    retries: int = 5
    start_seconds: float = 600.0
    kept_seconds: int = 24 * 3600  # after its end


def request_folder(home: Path, run_id: str) -> Path:
    """Where a run's pipeline and parameters lie."""
    return home / "requests" / segment(run_id)


class JobRunner(PipelineRunner):
    """Runs of one loop. The runs end with the loop's object (`place.owner`) and outlive the operator."""

    def __init__(
        self,
        cluster: Cluster,
        place: Place,
        store: RunStore,
        bounds: Bounds | None = None,
        command: tuple[str, ...] = COMMAND,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster, self._place, self._store = cluster, place, store
        self._bounds, self._command, self._now = bounds or Bounds(), command, now

    def start(self, request: RunRequest) -> RunView:
        """Make the run's Job, or return the run as it stands. Raises PipelineRefused, StorageFull or ClusterError."""
        run_id = self._id(request.key)
        known = self.look(request.key)
        if known is not None and known.state != "INTERRUPTED":
            return known
        self._ask(run_id, request)
        with contextlib.suppress(Conflict):  # made by a try that went unanswered, or by another operator: the same run
            self._cluster.create(JOBS, self._place.namespace, self._job(run_id))
        return RunView(request.key, run_id, "RUNNING")

    def look(self, key: str) -> RunView | None:
        """How the run of this key stands; None if there never was one."""
        run_id = self._id(key)
        record = self._store.run(run_id)
        if record is not None and record.state in ("SUCCEEDED", "FAILED"):
            return _view(key, record)
        job = self._cluster.get(JOBS, self._place.namespace, self._name(run_id))
        if job is None or "deletionTimestamp" in job["metadata"]:
            if record is None and not request_folder(self._place.home, run_id).exists():
                return None
            return RunView(key, run_id, "INTERRUPTED", reason=f"its Job {self._name(run_id)} is gone")
        ending = _ending(job)
        if ending is not None:
            return self._ended(key, run_id, *ending)
        return self._under_way(key, run_id)

    def close(self) -> None:
        """Nothing: Jobs are the cluster's."""

    def _ended(self, key: str, run_id: str, kind: str, why: str) -> RunView:
        """The Job has ended; the pod has written how, unless it never could."""
        record = self._store.run(run_id)
        if record is not None and record.state in ("SUCCEEDED", "FAILED"):
            return _view(key, record)
        pods = self._pods(run_id)
        said = "; ".join(dict.fromkeys(filter(None, (_last_words(pod) for pod in pods))))
        if kind == "Complete":
            why = "its Job is complete, but it wrote no result: is TRIMTAB_LEDGER_URL the same for operator and Jobs?"
        return self._fail(key, run_id, f"{why}. {said}".strip(". "))

    def _under_way(self, key: str, run_id: str) -> RunView:
        waiting = [(pod, *why_waiting(pod)) for pod in self._pods(run_id)]
        said = "; ".join(dict.fromkeys(sentence for _, _, sentence in waiting if sentence))
        for pod, reason, sentence in waiting:
            age = (self._now() - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
            if reason in _HOPELESS and age > self._bounds.start_seconds:
                view = self._fail(key, run_id, f"its pod could not be started for {age:.0f} s: {sentence}")
                self._cluster.delete(JOBS, self._place.namespace, self._name(run_id))
                return view
        return RunView(key, run_id, "RUNNING", reason=said)

    def _fail(self, key: str, run_id: str, reason: str) -> RunView:
        """Write the ending that the pod could not write: the Job goes some day, the ending stays."""
        now = self._now()
        record = self._store.run(run_id)
        if record is None:
            record = RunRecord(run_id, self._pipeline(run_id), "FAILED", now)
        record = replace(record, state="FAILED", ended=now, reason=reason)
        self._store.save_run(record)
        return _view(key, record)

    def _pipeline(self, run_id: str) -> str:
        return load(request_folder(self._place.home, run_id) / "pipeline.yaml").pipeline.name

    def _pods(self, run_id: str) -> list[Json]:
        return self._cluster.list(PODS, self._place.namespace, f"{RUN}={self._name(run_id)}")

    def _ask(self, run_id: str, request: RunRequest) -> None:
        """Write down what the run is asked for, once all that can be refused has been."""
        loaded = load(Path(request.pipeline))
        found = parameters.arguments(loaded.pipeline.root.inputs, request.parameters, pipeline=loaded.pipeline.name)
        refuse_remote(loaded.pipeline, found)
        folder = request_folder(self._place.home, run_id)
        if (folder / "parameters.json").is_file():
            return  # the first who asked is answered: a run goes on with what it began with
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / "pipeline.yaml", loaded.source.decode())
            write_whole(folder / "parameters.json", json.dumps(dict(request.parameters)))
        except OSError as error:
            raise StorageFull(f"cannot write {folder}: {error}. Enlarge the volume {self._place.claim}") from error

    def _id(self, key: str) -> str:
        """Loops may share a store of runs."""
        return id_of(f"{self._place.namespace}/{self._place.loop}/{key}")

    def _name(self, run_id: str) -> str:
        return object_name(self._place.loop[:30], f"run-{hashlib.sha256(run_id.encode()).hexdigest()[:12]}")

    def _job(self, run_id: str) -> Json:
        place, name = self._place, self._name(run_id)
        labels = {**place.labels(JOB), RUN: name}
        arguments = ["--home", str(place.home), "--run", run_id]
        container = {"name": "run", "image": place.image, "command": [*self._command, *arguments]}
        spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 30}
        template = pod_template(place, JOB, container, labels=labels, spec=spec)
        meta: Json = {"name": name, "labels": labels, "annotations": {RUN: run_id}}
        if place.owner is not None:
            meta["ownerReferences"] = [place.owner]
        ends = {"containerName": "run", "operator": "In", "values": [FAILED, REFUSED]}
        return {
            "metadata": meta,
            "spec": {
                "backoffLimit": self._bounds.retries,
                "activeDeadlineSeconds": self._bounds.seconds,
                "ttlSecondsAfterFinished": self._bounds.kept_seconds,
                # A drained node is nobody's failure; a pipeline that failed would only fail again.
                "podFailurePolicy": {
                    "rules": [
                        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                        {"action": "FailJob", "onExitCodes": ends, "onPodConditions": []},  # 1.25 wants to see both
                    ]
                },
                "template": template,
            },
        }


def _ending(job: Json) -> tuple[str, str] | None:
    for one in (job.get("status") or {}).get("conditions") or ():
        if one["type"] in ("Complete", "Failed") and one["status"] == "True":
            return one["type"], f"{one.get('reason')}: {one.get('message')}"
    return None


def _last_words(pod: Json) -> str:
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"exit code {ended['exitCode']} ({ended.get('reason')}): {str(ended.get('message') or '').strip()}"
    return why_waiting(pod)[1] or str((pod.get("status") or {}).get("message") or "")


def _view(key: str, record: RunRecord) -> RunView:
    return RunView(key, record.run_id, record.state, output=dict(record.output or {}), reason=record.reason)
