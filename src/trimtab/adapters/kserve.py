"""KServe's InferenceService as trimtab writes and reads it, for the servers and the routers of KServe's modes.

Fields are those of serving.kserve.io/v1beta1 as KServe 0.20.0 publishes it; how they act was read in its controllers
(pkg/controller/v1beta1/inferenceservice).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trimtab.adapters.cluster import PODS, Cluster, Resource
from trimtab.adapters.pod_storage import storage_uri
from trimtab.errors import TrimtabError
from trimtab.ports.servers import ServerRequest, ServerView

Json = dict[str, Any]
INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
MODE = "serving.kserve.io/deploymentMode"  # stated always: the cluster's default may be either
OF = "serving.kserve.io/inferenceservice"  # KServe puts it on whatever it makes for one
VERSION = "trimtab.dev/version"
LOOP = "trimtab.dev/loop"
USER = 65532  # of the image of serving/kserve/runtime.yaml
_LOG = "/var/lib/trimtab-log"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True)
class Settings:
    """How the versions of one loop are served. Bundles below `storage_root` are found by pods at `storage_uri`.

    Each answer is remembered in one of two ways. With `log_claim` the servers write their log into that claim, below
    `log_path`: nothing that was acknowledged is lost. With `payloads_url` KServe's logger sends each call there.
    """

    name: str
    namespace: str
    storage_root: Path
    storage_uri: str  # such as s3://bucket/models or pvc://claim/models
    runtime: str = "trimtab-kserve"  # a ServingRuntime or ClusterServingRuntime: serving/kserve/runtime.yaml
    service_account: str = ""
    min_replicas: int = 1
    resources: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_claim: str = ""
    log_path: str = ""
    payloads_url: str = ""


def short(version: str) -> str:
    """The version as a part of names."""
    if not _NAME.fullmatch(version) or len(version) > 20:
        raise TrimtabError(f"version {version!r} cannot be part of a name: expected at most 20 of a-z, 0-9 and dashes")
    return f"v{version}"


def predictor(settings: Settings, request: ServerRequest, named: bool) -> Json:
    """The predictor that serves the version; `named`: by its version, so that several can be in one object."""
    model: Json = {
        "name": "kserve-container",  # the CRD of 0.20.0 wants it said in a canary; KServe's default elsewhere
        "modelFormat": {"name": "trimtab"},
        "runtime": settings.runtime,
        "storageUri": storage_uri(
            request.version, request.bundle, request.uri, settings.storage_root, settings.storage_uri
        ),
        # Behind the runtime's own arguments, where the last one counts: its name would be that of the object.
        "args": [f"--name={settings.name}"],
        "env": [
            {"name": "TRIMTAB_VERSION", "value": request.version},
            {"name": "TRIMTAB_DIGEST", "value": request.digest},
        ],
    }
    if settings.resources:
        model["resources"] = dict(settings.resources)
    found: Json = {"model": model, "minReplicas": settings.min_replicas, "labels": {VERSION: request.version}}
    if settings.log_claim:
        # Not the runtime's own volume under another source: a volume with two sources is no volume.
        model["args"].append(f"--log-dir={_LOG}")
        model["volumeMounts"] = [{"name": "log-of-loop", "mountPath": _LOG, "subPath": settings.log_path}]
        found["volumes"] = [{"name": "log-of-loop", "persistentVolumeClaim": {"claimName": settings.log_claim}}]
        found["securityContext"] = {"fsGroup": USER}
    if settings.payloads_url:
        # As Go writes the header: KServe compares it to the letter.
        found["logger"] = {"mode": "all", "url": settings.payloads_url, "metadataHeaders": ["X-Request-Id"]}
    if settings.service_account:
        found["serviceAccountName"] = settings.service_account
    return {"name": short(request.version), **found} if named else found


def inference_service(
    settings: Settings, name: str, mode: Literal["Standard", "Knative"], spec: Json, annotations: Mapping[str, str]
) -> Json:
    """The object's metadata and spec."""
    labels = {"app.kubernetes.io/managed-by": "trimtab", LOOP: settings.name}
    notes = {**settings.annotations, **annotations, MODE: mode}
    return {
        "metadata": {"name": name, "namespace": settings.namespace, "labels": labels, "annotations": notes},
        "spec": spec,
    }


def version_of(part: Mapping[str, Any]) -> str:
    """The version that a predictor serves, or a thing made for it; "" if it does not say."""
    labels = part.get("labels") or (part.get("metadata") or {}).get("labels") or {}
    return str(labels.get(VERSION, ""))


def standard_views(
    cluster: Cluster, settings: Settings, deployments: Mapping[str, str], versions: Sequence[str]
) -> dict[str, ServerView]:
    """How the versions' Deployments (by name) stand: the status of an InferenceService may be that of its past."""
    pods: dict[str, list[Json]] = {}
    for pod in cluster.list(PODS, settings.namespace, VERSION):
        if str(pod["metadata"]["labels"].get("app", "")).removeprefix("isvc.") in deployments.values():
            pods.setdefault(version_of(pod), []).append(pod)
    return {
        version: _standard_view(
            version,
            cluster.get(DEPLOYMENTS, settings.namespace, deployments[version]),
            f"{deployments[version]}.{settings.namespace}.svc:80",
            pods.get(version, []),
        )
        for version in versions
    }


def _standard_view(version: str, found: Json | None, address: str, pods: Sequence[Json]) -> ServerView:
    restarts = sum(int(one.get("restartCount", 0)) for one in _containers(pods))
    said = "; ".join(dict.fromkeys(filter(None, map(_why, _containers(pods)))))
    if found is None:
        return ServerView(version, "starting", reason="KServe has not made its Deployment yet")
    status, generation = found.get("status") or {}, found["metadata"].get("generation", 0)
    if status.get("observedGeneration", 0) < generation or version_of(found["spec"]["template"]) != version:
        return ServerView(version, "starting", restarts=restarts, reason=said)
    if status.get("availableReplicas", 0) > 0:
        return ServerView(version, "ready", address, restarts=restarts)
    for condition in status.get("conditions") or ():
        if condition["type"] in ("Progressing", "ReplicaFailure"):
            bad = condition["status"] == ("False" if condition["type"] == "Progressing" else "True")
            if bad:
                why = f"{condition.get('message') or condition.get('reason')}"
                return ServerView(version, "failed", restarts=restarts, reason=f"{why}. {said}".strip(". "))
    return ServerView(version, "starting", restarts=restarts, reason=said)


def _containers(pods: Sequence[Json]) -> list[Json]:
    statuses = [pod.get("status") or {} for pod in pods]
    return [
        one
        for status in statuses
        for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    ]


def _why(container: Json) -> str:
    """Why a container does not run, in Kubernetes' own words."""
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, (container.get("lastState") or {}).get("terminated") or {}
    told = [
        waiting.get("reason", ""),
        waiting.get("message", "") or ended.get("message", "") or ended.get("reason", ""),
    ]
    return ": ".join(part for part in told if part) if waiting.get("reason") not in (None, "PodInitializing") else ""
