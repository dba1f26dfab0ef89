"""Who takes part in routing, in which role, and under which cluster name.

Clusters never change once made: their names hold role, version and address, so a server that comes back on another
port, or a new candidate, is a new cluster that is warmed (first health check) before any route names it.

The stable version falls back to the candidate only while the candidate takes a share of the answers: whoever shadows
or waits has not been let near an answer yet, and then 503 is the honest one.
"""

from __future__ import annotations

from typing import NamedTuple

from trimtab.ports.router import Routes, Target


class Member(NamedTuple):
    """A version in its role: a promoted candidate gets a cluster of its own, without ejection."""

    role: str
    target: Target
    grpc: bool

    @property
    def address(self) -> str:
        return self.target.grpc_address if self.grpc else self.target.address

    @property
    def cluster(self) -> str:
        # Colons would be separators in statistics' names.
        return f"{self.role}-{'grpc' if self.grpc else 'rest'}-{self.target.version}-{self.address.replace(':', '_')}"


Chain = tuple[Member, ...]  # who is tried first, and then


class Paths(NamedTuple):
    """The members of one protocol and the shares of its traffic."""

    stable: Member | None
    candidate: Member | None
    shares: tuple[tuple[Chain, int], ...]
    tracked: Chain
    mirror: Member | None

    @classmethod
    def of(cls, routes: Routes, grpc: bool) -> Paths:
        def member(role: str, target: Target | None) -> Member | None:
            found = Member(role, target, grpc) if target else None
            return found if found and found.address else None

        stable, candidate = member("stable", routes.stable), member("candidate", routes.candidate)
        percent = routes.candidate_percent if candidate else 0
        tracked = tuple(member for member in (candidate, stable) if member) if candidate else ()
        answering = tuple(member for member in (stable, candidate if percent else None) if member) if stable else ()
        shares = [(answering, 100 - percent if stable else 0), (tracked, percent if stable or not percent else 100)]
        return cls(
            stable, candidate, tuple(share for share in shares if share[1]), tracked, member("mirror", routes.candidate)
        )


def mirror_clusters(routes: Routes) -> dict[str, str]:
    """Version by name of the cluster that takes its copies: one of its own, so it counts copies only."""
    members = [Paths.of(routes, grpc).mirror for grpc in (False, True)]
    return {member.cluster: member.target.version for member in members if member}


def feedback_name(routes: Routes) -> str:
    """The cluster that takes labels."""
    return f"feedback-{routes.feedback.replace(':', '_')}"


def chain_name(chain: Chain) -> str:
    """The cluster that tries the members of a chain in their order; one member stands for itself."""
    return "-then-".join(member.cluster for member in chain)
