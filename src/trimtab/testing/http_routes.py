"""What an HTTPRoute means: which Service gets which share of a request, and which gets a copy.

The rules of https://gateway-api.sigs.k8s.io/reference/spec/#httprouterule (v1): the most specific match wins, an exact
path before the longest prefix, then a method, then the number of headers, then the order. Filters that change a
request are not followed. Raises ValueError for what it does not know, so that nothing is judged by half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Json = Mapping[str, Any]
_KNOWN_FILTERS = ("RequestHeaderModifier", "RequestMirror")


@dataclass(frozen=True)
class Outcome:
    """Shares by `name:port` of the Service; empty: nobody answers."""

    shares: Mapping[str, Fraction] = field(default_factory=dict)
    copies: Mapping[str, Fraction] = field(default_factory=dict)


def outcome(route: Json, path: str, method: str = "POST", headers: Mapping[str, str] | None = None) -> Outcome:
    """What becomes of a request."""
    given = {name.lower(): value for name, value in (headers or {}).items()}
    fitting = [
        (_rank(match, path), -number, rule)
        for number, rule in enumerate(route["spec"]["rules"])
        for match in rule.get("matches") or [{"path": {"type": "PathPrefix", "value": "/"}}]
        if _fits(match, path, method, given)
    ]
    if not fitting:
        return Outcome()
    rule = max(fitting, key=lambda one: one[:2])[2]
    return Outcome(_shares(rule), dict(_copies(rule)))


def _fits(match: Json, path: str, method: str, headers: Mapping[str, str]) -> bool:
    kind, value = match["path"].get("type", "PathPrefix"), match["path"].get("value", "/")
    if kind == "Exact":
        right = path == value
    elif kind == "PathPrefix":
        right = path == value or path.startswith(value.rstrip("/") + "/")
    else:
        raise ValueError(f"a path of type {kind} means something else in each gateway")
    if match.get("queryParams"):
        raise ValueError("query parameters are not followed here")
    wanted = match.get("headers") or ()
    if any(one.get("type", "Exact") != "Exact" for one in wanted):
        raise ValueError("a header by regular expression means something else in each gateway")
    told = all(headers.get(one["name"].lower()) == one["value"] for one in wanted)
    return right and told and match.get("method", method) == method


def _rank(match: Json, path: str) -> tuple[int, int, int, int]:
    exact = match["path"].get("type", "PathPrefix") == "Exact"
    length = len(path if exact else match["path"].get("value", "/"))
    return int(exact), length, int("method" in match), len(match.get("headers") or ())


def _shares(rule: Json) -> dict[str, Fraction]:
    weights: dict[str, int] = {}
    for one in rule.get("backendRefs") or ():
        weights[_service(one)] = weights.get(_service(one), 0) + int(one.get("weight", 1))
    total = sum(weights.values())
    return {name: Fraction(weight, total) for name, weight in weights.items() if weight}


def _copies(rule: Json) -> Iterator[tuple[str, Fraction]]:
    for one in rule.get("filters") or ():
        if one["type"] not in _KNOWN_FILTERS:
            raise ValueError(f"a filter {one['type']} is not followed here")
        if one["type"] == "RequestMirror":
            mirror = one["requestMirror"]
            part = mirror.get("fraction")
            share = Fraction(part["numerator"], part.get("denominator", 100)) if part else None
            yield _service(mirror["backendRef"]), share or Fraction(mirror.get("percent", 100), 100)


def _service(backend: Json) -> str:
    return f"{backend['name']}:{backend['port']}"
