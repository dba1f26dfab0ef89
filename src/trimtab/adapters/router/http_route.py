"""Routes as a Gateway API HTTPRoute: a pure function of `Routes`.

https://gateway-api.sigs.k8s.io/reference/spec/#httproute (v1). Only exact paths are matched, because what a regular
expression means is left to each implementation, and more headers win over fewer, so the track header's rule comes
before the split whatever the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trimtab.errors import TrimtabError
from trimtab.ports.router import Routes, Target

Json = dict[str, Any]
TRACK = "x-model-track"
COPY = "x-trimtab-shadow"  # a client must not be able to call its request a copy
_UNSTARTED = "/v2/health/ready"


@dataclass(frozen=True)
class Place:
    """Where the route lives and what it hangs on. `gateway` is NAME, NAMESPACE/NAME or NAMESPACE/NAME/LISTENER."""

    name: str
    namespace: str
    model: str
    gateway: str
    hostnames: tuple[str, ...] = ()
    timeout_seconds: float = 5.0


def http_route(routes: Routes, place: Place) -> Json:
    """The HTTPRoute's metadata and spec; a target's address names its Service: NAME[.NAMESPACE[.svc...]]:PORT."""
    spec: Json = {"parentRefs": [parent_of(place)], "rules": _rules(routes, place)}
    if place.hostnames:
        spec["hostnames"] = list(place.hostnames)
    labels = {"app.kubernetes.io/managed-by": "trimtab", "trimtab.dev/loop": place.model}
    return {"metadata": {"name": place.name, "namespace": place.namespace, "labels": labels}, "spec": spec}


def service_of(address: str) -> Json:
    """The backend reference of host:port; raises TrimtabError for what is no Service."""
    host, _, port = address.rpartition(":")
    labels = host.split(".")
    if not port.isdigit() or not labels[0] or labels[0].isdigit() or ":" in host or labels[2:3] not in ([], ["svc"]):
        raise TrimtabError(
            f"an HTTPRoute sends to Services; found the address {address!r}, expected NAME.NAMESPACE.svc:PORT"
        )
    space = {"namespace": labels[1]} if len(labels) > 1 else {}
    return {"group": "", "kind": "Service", "name": labels[0], **space, "port": int(port)}


def parent_of(place: Place) -> Json:
    """The reference to the gateway, or to one of its listeners."""
    space, _, rest = place.gateway.partition("/")
    name, _, listener = rest.partition("/")
    found = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name or space}
    if name:
        found["namespace"] = space
    return {**found, "sectionName": listener} if listener else found


def _rules(routes: Routes, place: Place) -> list[Json]:
    rules: list[Json] = []
    shares = shares_of(routes)
    if routes.feedback:
        rules.append(
            {"matches": [_match("/v1/feedback", "POST")], "backendRefs": [{**service_of(routes.feedback), "weight": 1}]}
        )
    if routes.candidate is not None:
        header = {"type": "Exact", "name": TRACK, "value": "candidate"}
        matches = [{**match, "headers": [header]} for match in _predictions(place.model)]
        rules.append(_rule(matches, [(routes.candidate, 1)], place))
    if shares:
        rule = _rule(_predictions(place.model), shares, place)
        rule["filters"] += _copies(routes)
        rules += [rule, _rule(_about(place.model), [(shares[0][0], 1)], place)]
    # A route without rules would stand for every path: this one stands for one, which nobody answers.
    return rules or [{"matches": [_match(_UNSTARTED, "GET")]}]


def shares_of(routes: Routes) -> list[tuple[Target, int]]:
    """Who answers which percentage; nobody does while there is neither a stable version nor a share."""
    percent = routes.candidate_percent if routes.candidate is not None else 0
    if routes.stable is None:
        return [(routes.candidate, 100)] if routes.candidate is not None and percent else []
    wanted = [(routes.stable, 100 - percent)]
    return [*wanted, (routes.candidate, percent)] if routes.candidate is not None and percent else wanted


def _copies(routes: Routes) -> list[Json]:
    if routes.candidate is None or not routes.mirror_percent:
        return []
    mirror: Json = {"backendRef": service_of(routes.candidate.address)}
    if routes.mirror_percent < 100:  # the field is younger than the filter: old gateways need not know it for 100
        mirror["percent"] = routes.mirror_percent
    return [{"type": "RequestMirror", "requestMirror": mirror}]


def _rule(matches: list[Json], shares: list[tuple[Target, int]], place: Place) -> Json:
    seconds = f"{round(place.timeout_seconds * 1000)}ms"
    return {
        "matches": matches,
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": [COPY]}}],
        "backendRefs": [{**service_of(target.address), "weight": weight} for target, weight in shares],
        "timeouts": {"request": seconds},
    }


def _predictions(model: str) -> list[Json]:
    paths = (f"/v1/models/{model}:predict", f"/v1/models/{model}:explain", f"/v2/models/{model}/infer")
    return [_match(path, "POST") for path in paths]


def _about(model: str) -> list[Json]:
    paths = ("/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{model}", f"/v2/models/{model}/ready")
    return [_match(path, "GET") for path in (f"/v1/models/{model}", *paths)]


def _match(path: str, method: str) -> Json:
    return {"path": {"type": "Exact", "value": path}, "method": method}
