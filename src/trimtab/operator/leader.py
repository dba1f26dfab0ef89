"""One operator acts at a time: whoever holds the Lease. A clock that is wrong elsewhere does not matter.

As client-go does it: a lease has run out when it was seen unchanged for its whole duration by our own clock. Two
holders at once for a moment do no harm, because each turn is committed once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from trimtab.adapters.cluster import LEASES, Cluster, Conflict, Json
from trimtab.errors import TrimtabError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sighting:
    """A lease as it was, and when (by our clock) it was first seen so."""

    version: str
    at: float


class Leader:
    """Holds or wants the lease `name`. `clock` is monotonic seconds."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._namespace, self._name, self._identity = cluster, namespace, name, identity
        self._seconds, self._clock = seconds, clock
        self._sighting: Sighting | None = None
        self._renewed = float("-inf")

    @property
    def holds(self) -> bool:
        """Whether nobody else can have taken the lease yet."""
        return self._clock() - self._renewed < self._seconds * 2 / 3

    def attempt(self) -> bool:
        """Take or renew the lease if that is allowed now; returns whether it is ours. Raises ClusterError."""
        now = self._clock()
        found = self._cluster.get(LEASES, self._namespace, self._name)
        try:
            if found is None:
                body = {"metadata": {"name": self._name}, "spec": self._spec({}, now)}
                self._cluster.create(LEASES, self._namespace, body)
            elif self._may_take(found, now):
                self._cluster.replace(LEASES, self._namespace, {**found, "spec": self._spec(found["spec"], now)})
            else:
                self._renewed = float("-inf")
                return False
        except Conflict:
            return False  # somebody was faster, or our own answer was lost: the next attempt shows which
        self._renewed = now
        return True

    def release(self) -> None:
        """Give the lease up, so that the next operator need not wait."""
        found = self._cluster.get(LEASES, self._namespace, self._name)
        self._renewed = float("-inf")
        if found is not None and (found.get("spec") or {}).get("holderIdentity") == self._identity:
            spec = {**found["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _stamp()}
            self._cluster.replace(LEASES, self._namespace, {**found, "spec": spec})

    def _may_take(self, found: Json, now: float) -> bool:
        spec = found.get("spec") or {}
        if spec.get("holderIdentity") in ("", None, self._identity):
            return True
        version = found["metadata"]["resourceVersion"]
        if self._sighting is None or self._sighting.version != version:
            self._sighting = Sighting(version, now)
        return now - self._sighting.at > float(spec.get("leaseDurationSeconds") or self._seconds)

    def _spec(self, before: Json, now: float) -> Json:  # noqa: ARG002
        mine = before.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._seconds)),
            "acquireTime": before.get("acquireTime") if mine else _stamp(),
            "renewTime": _stamp(),
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not mine and bool(before)),
        }


def lead(leader: Leader, seconds: float, stop: threading.Event, led: threading.Event, lost: threading.Event) -> None:
    """Try for the lease until `stop`; `led` is set while it is held, `lost` once and for all when it is lost."""
    while not stop.wait(seconds / 5 if led.is_set() or lost.is_set() else min(2.0, seconds / 5)):
        try:
            got = leader.attempt()
        except TrimtabError as error:
            log.warning("the lease could not be looked at: %s", error)
            got = leader.holds
        if got and not led.is_set():
            log.info("this process leads")
            led.set()
        if led.is_set() and not (got or leader.holds):
            log.error("the lease was lost: this process stops")
            lost.set()
            return


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
