"""Which version has which role in one InferenceService: pure steps from what is there to what is wanted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from trimtab.errors import Refused, TrimtabError
from trimtab.ports.router import Routes


@dataclass(frozen=True)
class Roles:
    """The stable version, and the percentages of the others, each 0 (dark) or more."""

    stable: str
    others: Mapping[str, int] = field(default_factory=dict)


def with_servers(roles: Roles | None, wanted: Sequence[str], used: Collection[str]) -> Roles | None:
    """Roles once these versions shall run: new ones are dark, and who still gets requests (`used`) stays.

    The stable version stays until the routes name another one. None: nobody is wanted.
    """
    if not wanted:
        return None
    if roles is None:
        return Roles(wanted[0], dict.fromkeys(wanted[1:], 0))
    kept = {one: share for one, share in roles.others.items() if one in wanted or share or one in used}
    new = {one: 0 for one in wanted if one != roles.stable and one not in kept}
    return replace(roles, others={**kept, **new})


def with_routes(roles: Roles, routes: Routes) -> Roles:
    """Roles under these routes; the stable version before stays as a dark one until it is not wanted any more."""
    refuse_copies(routes)
    candidate = routes.candidate.version if routes.candidate is not None else None
    stable = routes.stable.version if routes.stable is not None else roles.stable
    if routes.stable is None and candidate is not None and routes.candidate_percent:
        stable = candidate
    if stable != roles.stable and stable not in roles.others:
        raise TrimtabError(f"requests cannot go to version {stable}: KServe was never told to serve it")
    others = dict.fromkeys([*roles.others, roles.stable], 0)
    others.pop(stable)
    if candidate is not None and candidate in others:
        others[candidate] = routes.candidate_percent
    return Roles(stable, others)


def refuse_copies(routes: Routes) -> None:
    """Raise Refused for routes with copies; `abilities.check` says so before a release begins."""
    if routes.candidate is not None and routes.mirror_percent:
        raise Refused(
            f"KServe cannot send a copy of {routes.mirror_percent} % of the requests to version "
            f"{routes.candidate.version}: set spec.release.shadow: false, or use the router gateway-api"
        )
