"""What the operator is told of a bare cluster: images, the shared volume, stores, bounds. The chart sets all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from trimtab.adapters.records.places import STORE
from trimtab.adapters.workloads import Place
from trimtab.errors import Refused
from trimtab.operator.accepting import LoopObject
from trimtab.stages.objects import place

Json = dict[str, Any]


@dataclass(frozen=True)
class BareSettings:
    """`volume` is where the claim is mounted, in the operator and in every pod that it makes."""

    image: str
    claim: str
    namespace: str
    volume: Path = Path("/var/lib/trimtab")
    server_image: str = ""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    listen: str = "0.0.0.0"  # noqa: S104 - in a pod
    resources: Mapping[str, Json] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    environment: tuple[Json, ...] = ()
    tracking_uri: str = ""
    artifact_root: str = ""  # where MLflow keeps bundles, such as s3://bucket/models; "": on the volume
    record_store: str = ""  # s3://bucket/prefix, below which each loop's logs are shipped; "": they stay on the volume
    shared: bool = False  # a claim of this name in each namespace of loops is the same storage
    ledger_url: str = ""
    ledger_secret: str = ""  # NAME/KEY of the secret that holds the ledger's URL, for the Jobs
    feedback_secret: str = ""  # NAME/KEY of the secret that holds the token that /v1/feedback wants
    job_seconds: int = 6 * 3600
    start_seconds: float = 600.0
    server_seconds: int = 300
    drain: timedelta = timedelta(seconds=60)

    def place(self, about: LoopObject) -> Place:
        """Where this loop's pods run."""
        told = [secret_entry("TRIMTAB_LEDGER_URL", self.ledger_secret)] if self.ledger_secret else []
        if self.record_store:
            told.append({"name": STORE, "value": self.records(about)})
        return Place(
            about.name,
            about.namespace,
            self.volume,
            self.volume / about.namespace / about.name,
            self.claim,
            self.image,
            self.server_image,
            self.pull_policy,
            self.pull_secrets,
            self.service_account,
            self.listen,
            self.resources,
            (*self.environment, *told),
            about.owner,
            self.node_selector,
        )

    def records(self, about: LoopObject) -> str:
        """Where this loop's logs are shipped to; "" if they are not."""
        return f"{self.record_store.rstrip('/')}/{about.namespace}/{about.name}" if self.record_store else ""


def secret_entry(name: str, secret: str) -> Json:
    """An entry of a container's env that takes its value from NAME/KEY; raises Refused."""
    of, _, key = secret.partition("/")
    if not of or not key:
        raise Refused(f"a secret is named as NAME/KEY, found {secret!r} for {name}. Mend the operator's environment")
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": of, "key": key}}}


def from_environment(environment: Mapping[str, str] | None = None) -> BareSettings:
    """Settings of the pod; raises Refused for what cannot be one."""
    found = os.environ if environment is None else environment
    missing = [name for name in ("TRIMTAB_IMAGE", "TRIMTAB_CLAIM") if not found.get(name)]
    if missing:
        raise Refused(
            f"the operator's environment lacks {' and '.join(missing)}: the image of the pods that it makes and the "
            "claim of the volume that they share. The chart helm/trimtab sets both"
        )
    default = BareSettings("", "", "")
    return BareSettings(
        image=found["TRIMTAB_IMAGE"],
        claim=found["TRIMTAB_CLAIM"],
        namespace=found.get("POD_NAMESPACE", "") or found.get("TRIMTAB_NAMESPACES", "") or "default",
        volume=Path(found.get("TRIMTAB_VOLUME", "") or default.volume),
        server_image=found.get("TRIMTAB_SERVER_IMAGE", ""),
        pull_policy=found.get("TRIMTAB_PULL_POLICY", "") or default.pull_policy,
        pull_secrets=tuple(one for one in found.get("TRIMTAB_PULL_SECRETS", "").split(",") if one),
        service_account=found.get("TRIMTAB_POD_ACCOUNT", ""),
        listen=found.get("TRIMTAB_LISTEN", "") or default.listen,
        resources=_json(found, "TRIMTAB_RESOURCES", {}),
        node_selector=_json(found, "TRIMTAB_POD_NODES", {}),
        environment=tuple(_json(found, "TRIMTAB_POD_ENV", [])),
        tracking_uri=found.get("TRIMTAB_TRACKING_URI", ""),
        artifact_root=found.get("TRIMTAB_ARTIFACT_ROOT", ""),
        record_store=_store(found.get(STORE, "")),
        shared=found.get("TRIMTAB_VOLUME_SHARED") == "true",
        ledger_url=found.get("TRIMTAB_LEDGER_URL", ""),
        ledger_secret=found.get("TRIMTAB_LEDGER_SECRET", ""),
        feedback_secret=found.get("TRIMTAB_FEEDBACK_SECRET", ""),
        job_seconds=int(_seconds(found, "TRIMTAB_JOB_SECONDS", default.job_seconds)),
        start_seconds=_seconds(found, "TRIMTAB_START_SECONDS", default.start_seconds),
        server_seconds=int(_seconds(found, "TRIMTAB_SERVER_SECONDS", default.server_seconds)),
        drain=timedelta(seconds=_seconds(found, "TRIMTAB_DRAIN_SECONDS", default.drain.total_seconds())),
    )


def _store(uri: str) -> str:
    """The prefix, if it is one; raises Refused."""
    if uri:
        place(uri)
    return uri


def _json(found: Mapping[str, str], name: str, default: Any) -> Any:
    text = found.get(name, "")
    if not text:
        return default
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, type(default)):
        raise Refused(f"{name} must be JSON like {json.dumps(default)}, found {text[:80]!r}. Mend the environment")
    return value


def _seconds(found: Mapping[str, str], name: str, default: float) -> float:
    text = found.get(name, "") or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number <= 0:
        raise Refused(f"{name} must be a number of seconds above 0, found {text!r}. Mend the operator's environment")
    return number
