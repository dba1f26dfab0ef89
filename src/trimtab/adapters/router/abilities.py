"""What a router can do for a release, so that a document which wants more is refused before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trimtab.errors import Refused
from trimtab.spec.release import Release

_WAY_OUT = "use the router gateway-api or envoy"


@dataclass(frozen=True)
class Abilities:
    """What a router cannot do, in words; "" where it can. `name` is what a person calls it."""

    name: str
    no_copies: str = ""  # why it cannot send a copy of each request to the candidate
    no_shares: str = ""  # why it cannot send a share of the requests
    no_way_back: str = ""  # why it cannot keep the version before ready to serve


def refusals(release: Release, abilities: Abilities) -> Iterator[str]:
    """Every wish of the release section that the router cannot fulfil: rule, value, next step."""
    shadow = release.strategy == "shadow" or release.shadow
    if shadow and abilities.no_copies:
        key = "strategy: shadow" if release.strategy == "shadow" else "shadow: true"
        other = "set spec.release.shadow: false" if release.strategy != "shadow" else "choose the strategy canary"
        yield (
            f"spec.release.{key} wants a copy of each request, which the router {abilities.name} cannot send: "
            f"{abilities.no_copies}. Either {other}, or {_WAY_OUT}"
        )
    if release.strategy == "canary" and abilities.no_shares:
        yield (
            f"spec.release.strategy: canary wants shares of the requests, which the router {abilities.name} cannot "
            f"give: {abilities.no_shares}. Either choose the strategy blue-green, or {_WAY_OUT}"
        )
    if release.strategy == "blue-green" and abilities.no_way_back:
        yield (
            f"spec.release.strategy: blue-green keeps the version before ready, which the router {abilities.name} "
            f"cannot: {abilities.no_way_back}. Either choose the strategy canary, or {_WAY_OUT}"
        )


def check(release: Release, abilities: Abilities) -> None:
    """Raise Refused with every wish that cannot be fulfilled."""
    found = list(refusals(release, abilities))
    if found:
        raise Refused("\n".join(found))
