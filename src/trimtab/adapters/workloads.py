"""What the pods of a loop on a bare cluster have in common: names, labels, the shared volume, security.

All of a loop's pods see one folder of one volume: its home. That is what lets a cluster without an object store and
without a database run the loop; the volume must be one that all nodes with such pods can mount at the same time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trimtab.adapters.cluster import MANAGER, Resource

Json = dict[str, Any]
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
LOOP = "trimtab.dev/loop"
ROLE = "trimtab.dev/role"  # job, model, router, collector
VERSION = "trimtab.dev/version"
METRICS = "trimtab.dev/metrics"  # what the chart's PodMonitor looks for
MADE_AS = "trimtab.dev/made-as"  # annotation: a digest of what was last applied
SCRATCH = "/run/trimtab"
USER = 65532  # of the images
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST = 52  # leaves room for what controllers append to the names of pods


@dataclass(frozen=True)
class Place:
    """Where a loop's pods run and what they are made of.

    `home` is the loop's folder below `root`, where the claim is mounted; `listen` the address servers bind to;
    `resources` by role; `environment`: entries of a container's env that every pod gets; `owner`: the reference that
    lets runs go with their loop.
    """

    loop: str
    namespace: str
    root: Path
    home: Path
    claim: str
    image: str
    server_image: str = ""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    listen: str = "0.0.0.0"  # noqa: S104 - in a pod
    resources: Mapping[str, Json] = field(default_factory=dict)
    environment: tuple[Json, ...] = ()
    owner: Json | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)

    def labels(self, role: str) -> dict[str, str]:
        """Of everything that is made for the loop in this role."""
        ours = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": "trimtab"}
        return {**ours, LOOP: label(self.loop), ROLE: role}

    def selector(self, role: str) -> str:
        """Finds them."""
        return f"{LOOP}={label(self.loop)},{ROLE}={role}"


def object_name(loop: str, suffix: str) -> str:
    """LOOP-SUFFIX as a name that a Service may have; what is no such name is made one, and stays unlike any other."""
    name = f"{loop}-{suffix}"
    if _LABEL.fullmatch(name) and len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[: _LONGEST - 13].strip("-")
    return f"l-{readable}-{digest}"


def label(text: str) -> str:
    """The text as the value of a label."""
    return text if len(text) <= 63 else f"{text[:50]}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def digest_of(value: Any) -> str:
    """The same for the same JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def pod_template(
    place: Place,
    role: str,
    container: Json,
    *,
    labels: Mapping[str, str] | None = None,
    volumes: tuple[tuple[Json, str], ...] = (),
    with_home: bool = True,
    spec: Json | None = None,
) -> Json:
    """A pod with one container, such as Pod Security `restricted` admits. `volumes`: each with its mount path."""
    home = place.home.relative_to(place.root).as_posix()
    every: list[tuple[Json, Json]] = [
        ({"name": "scratch", "emptyDir": {"sizeLimit": "512Mi"}}, {"mountPath": "/tmp"}),  # noqa: S108 - the pod's own
        ({"name": "run", "emptyDir": {"sizeLimit": "64Mi"}}, {"mountPath": SCRATCH}),
        *((volume, {"mountPath": path, "readOnly": True}) for volume, path in volumes),
    ]
    if with_home:
        claim = {"name": "home", "persistentVolumeClaim": {"claimName": place.claim}}
        # Only its own folder: a loop's pods cannot look at another loop's.
        every.append((claim, {"mountPath": str(place.home), "subPath": home}))
    environment = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, *place.environment]
    made: Json = {
        **container,
        "imagePullPolicy": place.pull_policy,
        "env": [*environment, *container.get("env", [])],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": volume["name"], **mount} for volume, mount in every],
    }
    if place.resources.get(role):
        made["resources"] = place.resources[role]
    whole: Json = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [made],
        "volumes": [volume for volume, _ in every],
        **(spec or {}),
    }
    if place.service_account:
        whole["serviceAccountName"] = place.service_account
    if place.pull_secrets:
        whole["imagePullSecrets"] = [{"name": name} for name in place.pull_secrets]
    if place.node_selector:
        whole["nodeSelector"] = dict(place.node_selector)
    return {"metadata": {"labels": {**place.labels(role), **(labels or {})}}, "spec": whole}


def is_ready(pod: Json) -> bool:
    """Whether the pod takes requests."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def why_waiting(pod: Json) -> tuple[str, str]:
    """(reason, sentence) why a pod's container does not run, in Kubernetes' own words; ("", "") if it does."""
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        if reason in ("", "ContainerCreating", "PodInitializing"):
            continue
        last = (one.get("lastState") or {}).get("terminated") or {}
        said = [reason, str(waiting.get("message") or ""), str(last.get("message") or last.get("reason") or "").strip()]
        return reason, ": ".join(part for part in said if part)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            reason = str(condition.get("reason") or "Unschedulable")
            return reason, f"{reason}: {condition.get('message') or 'no node takes it'}"
    return "", ""
