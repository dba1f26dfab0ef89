"""Pods for Deployments and Jobs, as the controllers of Kubernetes make them, as far as tests need.

There are no ReplicaSets: a Deployment owns its pods. A rolling change starts all new pods and then ends the old ones.
A Job has one pod at a time; its failure policy knows exit codes, and nothing is ever disrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi

Json = dict[str, Any]
_MERGE = "application/merge-patch+json"
_HASH = "pod-template-hash"


class Workloads:
    """The two controllers."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._number = 0

    def step(self) -> None:
        """Look at every Deployment and Job once."""
        pods: dict[str, list[Json]] = {}
        for pod in self._api.objects("/api/v1/pods"):
            for owner in pod["metadata"].get("ownerReferences") or ():
                pods.setdefault(owner["uid"], []).append(pod)
        for one in self._api.objects("/apis/apps/v1/deployments"):
            with contextlib.suppress(ApiRefused):
                self._deployment(one, pods.get(one["metadata"]["uid"], []))
        for one in self._api.objects("/apis/batch/v1/jobs"):
            with contextlib.suppress(ApiRefused):
                self._job(one, pods.get(one["metadata"]["uid"], []))

    def _deployment(self, found: Json, pods: list[Json]) -> None:
        spec = found["spec"]
        wanted = int(spec.get("replicas", 1))
        mark = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
        new = [pod for pod in pods if pod["metadata"]["labels"].get(_HASH) == mark]
        old = [pod for pod in pods if pod not in new]
        ready = [pod for pod in new if _ready(pod)]
        recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
        if recreate or len(ready) >= wanted:
            for pod in old:
                self._delete(pod)
        if not (recreate and old):
            for _ in range(wanted - len(new)):
                self._pod(found, spec["template"], {_HASH: mark})
        for pod in new[wanted:]:
            self._delete(pod)
        self._tell(found, _deployment_status(found, new, old, ready, wanted))

    def _job(self, found: Json, pods: list[Json]) -> None:
        status, spec = found.get("status") or {}, found["spec"]
        ends = [one for one in status.get("conditions") or () if one["type"] in ("Complete", "Failed")]
        if ends:
            ttl = spec.get("ttlSecondsAfterFinished")
            if ttl is not None and _age(ends[0]["lastTransitionTime"]) > ttl:
                self._api.request("DELETE", _path(found))
            return
        phases = [(pod.get("status") or {}).get("phase", "Pending") for pod in pods]
        failed = [pod for pod, phase in zip(pods, phases, strict=True) if phase == "Failed"]
        active = len(phases) - len(failed) - phases.count("Succeeded")
        told: Json = {"active": active, "failed": len(failed), "succeeded": phases.count("Succeeded")}
        told["startTime"] = status.get("startTime") or _stamp()
        why: tuple[str, str, str] | None = None
        if told["succeeded"]:
            why = ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif any(_ends_job(spec, pod) for pod in failed):
            why = ("Failed", "PodFailurePolicy", f"Container of pod {failed[-1]['metadata']['name']} failed for good")
        elif len(failed) > int(spec.get("backoffLimit", 6)):
            why = ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif "activeDeadlineSeconds" in spec and _age(told["startTime"]) > spec["activeDeadlineSeconds"]:
            why = ("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif not active and not spec.get("suspend"):
            self._pod(found, spec["template"], {"batch.kubernetes.io/job-name": found["metadata"]["name"]})
            told["active"] = 1
        if why is not None:
            for pod, phase in zip(pods, phases, strict=True):
                if phase in ("Pending", "Running"):
                    self._delete(pod)
            kind, reason, message = why
            told["active"] = 0
            end = {"type": kind, "status": "True", "reason": reason, "message": message}
            told["conditions"] = [{**end, "lastTransitionTime": _stamp()}]
        self._tell(found, told)

    def _pod(self, owner: Json, template: Json, labels: Json) -> None:
        self._number += 1
        meta = owner["metadata"]
        about = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}
        given = template.get("metadata") or {}
        body = {
            "metadata": {
                "name": f"{meta['name'][:50]}-{self._number:05x}",
                "labels": {**(given.get("labels") or {}), **labels},
                "annotations": given.get("annotations") or {},
                "ownerReferences": [{**about, "controller": True}],
            },
            "spec": template["spec"],
        }
        self._api.request("POST", f"/api/v1/namespaces/{meta['namespace']}/pods", body)

    def _delete(self, pod: Json) -> None:
        with contextlib.suppress(ApiRefused):
            self._api.request("DELETE", _path(pod))

    def _tell(self, found: Json, status: Json) -> None:
        if (found.get("status") or {}) != status:
            self._api.request("PATCH", f"{_path(found)}/status", {"status": status}, _MERGE)


def _deployment_status(found: Json, new: list[Json], old: list[Json], ready: list[Json], wanted: int) -> Json:
    limit = float(found["spec"].get("progressDeadlineSeconds", 600))
    late = len(ready) < wanted and any(_age(pod["metadata"]["creationTimestamp"]) > limit for pod in new)
    name = found["metadata"]["name"]
    progressing = {
        "type": "Progressing",
        "status": "False" if late else "True",
        "reason": "ProgressDeadlineExceeded" if late else "NewReplicaSetAvailable",
        "message": f'ReplicaSet "{name}" has timed out progressing.' if late else "",
    }
    enough = "True" if len(ready) >= wanted else "False"
    available = {"type": "Available", "status": enough, "reason": "", "message": ""}
    serving = len(ready) + sum(_ready(pod) for pod in old)
    return {
        "observedGeneration": found["metadata"]["generation"],
        "replicas": len(new) + len(old),
        "updatedReplicas": len(new),
        "readyReplicas": serving,
        "availableReplicas": serving,
        "conditions": [available, progressing],
    }


def _ends_job(spec: Json, pod: Json) -> bool:
    codes = [
        rule["onExitCodes"]["values"]
        for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ()
        if rule["action"] == "FailJob" and "onExitCodes" in rule
    ]
    ended = [(one.get("state") or {}).get("terminated") or {} for one in pod["status"]["containerStatuses"]]
    return any(one.get("exitCode") in values for one in ended for values in codes)


def _ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _path(found: Json) -> str:
    plural = {"Pod": "pods", "Job": "jobs", "Deployment": "deployments"}[found["kind"]]
    group = "/api/v1" if found["apiVersion"] == "v1" else f"/apis/{found['apiVersion']}"
    return f"{group}/namespaces/{found['metadata']['namespace']}/{plural}/{found['metadata']['name']}"


def _age(stamp: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
