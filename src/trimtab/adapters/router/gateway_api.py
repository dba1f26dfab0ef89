"""Router by a Gateway API HTTPRoute: weights, copies and the track header, by whatever gateway the cluster has.

What it cannot do that Envoy's configuration of ours can: answer by the stable version when the candidate fails (retries
across backends are no part of the API), answer one request id always by the same version, and gRPC.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from trimtab.adapters.cluster import Cluster, Resource
from trimtab.adapters.router.abilities import Abilities
from trimtab.adapters.router.http_route import Place, http_route, parent_of
from trimtab.adapters.router.prometheus import Evidence
from trimtab.errors import EvidenceMissing
from trimtab.ports.router import Routes, Traffic

HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GATEWAYS = Resource("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
SERVICES = Resource("", "v1", "services", "Service")
SINCE = "trimtab.dev/counted-since"
_UNMARKED = (
    "copies must be told from requests by the `-shadow` that Envoy appends to their host, and this gateway was not "
    "said to append it (Istio does not unless istiod has DISABLE_SHADOW_HOST_SUFFIX=false)"
)


def abilities(marks_copies: bool) -> Abilities:
    """What the router can do; `marks_copies`: the gateway appends `-shadow` to the host of a copy."""
    return Abilities("gateway-api", no_copies="" if marks_copies else _UNMARKED)


class GatewayApiRouter:
    """One HTTPRoute. It stays when the operator goes: `close` leaves the cluster's traffic alone."""

    def __init__(self, cluster: Cluster, place: Place, evidence: Evidence) -> None:
        self._cluster, self._place, self._evidence = cluster, place, evidence
        self._applied: Routes | None = None
        self._since: datetime | None = None
        self._address, self._refused = "", ""
        self._services: dict[str, str] = {}  # name by IP address

    @property
    def address(self) -> str:
        """The host name of the route, or the gateway's own address; "" before the first `apply`."""
        return self._address

    def apply(self, routes: Routes) -> None:
        """Write the route unless it says this already, whoever changed it; raises ClusterError."""
        routes = self._named(routes)
        body = http_route(routes, self._place)
        found = self._cluster.get(HTTP_ROUTES, self._place.namespace, self._place.name)
        if self._since is None:
            self._since = self._evidence.begin(_noted(found))
        body["metadata"]["annotations"] = {SINCE: self._since.isoformat()}
        self._refused = ""
        if found is None or not _holds(found, body):
            self._cluster.apply(HTTP_ROUTES, self._place.namespace, body)
        else:
            self._refused = _refusal(found)
        self._applied = routes
        self._address = self._address or self._seek_address()

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version, out of Prometheus; raises EvidenceMissing, also while the gateway refuses the route."""
        routes = self._applied
        if routes is None or self._since is None:
            return {}
        if self._refused:
            raise EvidenceMissing(self._refused)
        targets = {one.version: one.address for one in (routes.stable, routes.candidate) if one is not None}
        return self._evidence.read(self._place.model, targets, self._since)

    def close(self) -> None:
        """Forget the route; the cluster keeps it."""
        self._applied, self._address = None, ""

    def remove(self) -> None:
        """Delete the route; raises ClusterError."""
        self._cluster.delete(HTTP_ROUTES, self._place.namespace, self._place.name)
        self.close()

    def _named(self, routes: Routes) -> Routes:
        """The same with names of Services in place of their IP addresses, which is how a bare cluster's servers go."""
        given = [routes.feedback, *[one.address for one in (routes.stable, routes.candidate) if one is not None]]
        if any(_is_ip(address) for address in given):
            for one in self._cluster.list(SERVICES, self._place.namespace):
                self._services[str(one["spec"].get("clusterIP") or "")] = one["metadata"]["name"]
        stable, candidate = (
            replace(one, address=self._name(one.address)) if one is not None else None
            for one in (routes.stable, routes.candidate)
        )
        return replace(routes, stable=stable, candidate=candidate, feedback=self._name(routes.feedback))

    def _name(self, address: str) -> str:
        host, _, port = address.rpartition(":")
        known = self._services.get(host) if _is_ip(address) else None
        return f"{known}.{self._place.namespace}.svc:{port}" if known else address

    def _seek_address(self) -> str:
        if self._place.hostnames:
            return f"{self._place.hostnames[0]}:80"
        parent = parent_of(self._place)
        gateway = self._cluster.get(GATEWAYS, parent.get("namespace", self._place.namespace), parent["name"]) or {}
        addresses = (gateway.get("status") or {}).get("addresses") or [{}]
        listeners = (gateway.get("spec") or {}).get("listeners") or [{}]
        chosen = [one for one in listeners if one.get("name") == parent.get("sectionName")] or listeners
        value = addresses[0].get("value", "")
        return f"{value}:{chosen[0].get('port', 80)}" if value else ""


def _holds(found: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether the object has all that is wanted: what a server adds by default does not count."""
    return _noted(found) == body["metadata"]["annotations"][SINCE] and covers(found["spec"], body["spec"])


def covers(found: Any, wanted: Any) -> bool:
    """Whether `found` has everything that `wanted` has; lists item by item."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(found, list) and len(found) == len(wanted)
        return same and all(covers(one, other) for one, other in zip(found, wanted, strict=True))
    return bool(found == wanted)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True


def _noted(found: Mapping[str, Any] | None) -> str:
    return str(((found or {}).get("metadata", {}).get("annotations") or {}).get(SINCE, ""))


def _refusal(found: Mapping[str, Any]) -> str:
    """What a gateway's controller has against the route as it is now; "" if nothing, or nobody has looked yet."""
    for parent in (found.get("status") or {}).get("parents") or ():
        for condition in parent.get("conditions") or ():
            current = condition.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
            if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False" and current:
                name = f"{found['metadata'].get('namespace')}/{found['metadata']['name']}"
                return f"the gateway refuses HTTPRoute {name}: {condition.get('reason')}: {condition.get('message')}"
    return ""
