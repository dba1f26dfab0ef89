"""What the operator is told by its environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab.errors import Refused

FINALIZER = "trimtab.dev/operator"
ON_DELETE = "trimtab.dev/on-delete"  # annotation: `keep` (what serves serves on) or `remove`
LEASE = "trimtab-operator"


@dataclass(frozen=True)
class Settings:
    """`namespaces` empty is the whole cluster. Ports of 0 are picked freely; None is off."""

    namespaces: tuple[str, ...] = ()
    own_namespace: str = "default"
    identity: str = ""
    address: str = "0.0.0.0"  # noqa: S104 - of metrics and health, which others ask for
    metrics_port: int | None = 9090
    health_port: int | None = 8080
    workers: int = 16  # turns at the same time
    busy_seconds: float = 10.0  # between two turns of a loop that trains, releases or has just begun
    idle_seconds: float = 60.0  # between two turns of a loop that only serves
    lease_seconds: float = 15.0
    retry_seconds: float = 1.0  # after a turn that failed, doubled each time up to a minute


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of the pod; raises Refused for a number that is none."""
    found = os.environ if environment is None else environment
    names = tuple(one.strip() for one in found.get("TRIMTAB_NAMESPACES", "").split(",") if one.strip())
    own = found.get("POD_NAMESPACE", "") or (names[0] if names else "default")
    default = Settings()
    return Settings(
        namespaces=names,
        own_namespace=own,
        identity=found.get("POD_NAME", "") or f"{socket.gethostname()}-{os.getpid()}",
        address=found.get("TRIMTAB_ADDRESS", "") or default.address,
        metrics_port=int(_number(found, "TRIMTAB_METRICS_PORT", 9090)),
        health_port=int(_number(found, "TRIMTAB_HEALTH_PORT", 8080)),
        workers=max(1, int(_number(found, "TRIMTAB_WORKERS", default.workers))),
        busy_seconds=_number(found, "TRIMTAB_BUSY_SECONDS", default.busy_seconds),
        idle_seconds=_number(found, "TRIMTAB_IDLE_SECONDS", default.idle_seconds),
        lease_seconds=_number(found, "TRIMTAB_LEASE_SECONDS", default.lease_seconds),
    )


def _number(found: Mapping[str, str], name: str, default: float) -> float:
    text = found.get(name, "") or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number < 0:
        raise Refused(f"{name} must be a number of at least 0, found {text!r}. Mend the operator's environment")
    return number
