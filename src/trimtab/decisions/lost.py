"""A champion that cannot be served, with no way back: what is said, and who answers then."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from trimtab.decisions import clock
from trimtab.decisions.observed import Observed
from trimtab.decisions.outcome import Decision
from trimtab.decisions.state import LoopState

PATIENCE = timedelta(seconds=30)
Moved = tuple[LoopState, tuple[Decision, ...]]


def lost(state: LoopState, observed: Observed) -> str:
    """Why the champion cannot be served though nothing can take its place; empty if it can, or nobody knows."""
    server = observed.servers.get(state.champion or "")
    if server is None or server.state != "failed" or state.returning:
        return ""
    return (server.reason or "no reason was given").rstrip(".")


def serves_on(state: LoopState, observed: Observed) -> str:
    """Who answers requests, in words: `version 1 serves on`."""
    if state.champion is None:
        return "no version serves"
    if lost(state, observed):
        return f"no version serves, as the server of version {state.champion} failed"
    return f"version {state.champion} serves on"


def lasts(state: LoopState, observed: Observed) -> bool:
    """Whether the champion has been lost for so long that another one is worth training: a slow start heals."""
    since = state.unserved_since
    return since is not None and observed.now - clock.past(state, observed.now, since) >= PATIENCE


def watch(state: LoopState, observed: Observed) -> Moved:
    """Say once that the champion cannot be served, and once that it can again."""
    why, champion = lost(state, observed), state.champion or ""
    if why and not state.unserved:
        candidate = state.release.candidate if state.release is not None else ""
        next_ = (
            f"version {candidate} takes its place once its server is ready"
            if candidate
            else "if that lasts, a new one is trained"
        )
        said = (
            f"Version {champion} cannot be served, and no other version can take its place: {why}. Requests are "
            f"answered with 503 meanwhile; {next_}, unless you mend what the reason names first."
        )
        evidence = {"server": why}
        return replace(state, unserved=champion, unserved_since=observed.now), (
            Decision("unserved", observed.now, said, champion, champion, evidence),
        )
    server = observed.servers.get(champion)
    if state.unserved and (state.unserved != champion or (server is not None and server.state == "ready")):
        back = replace(state, unserved="", unserved_since=None)
        if state.unserved != champion:
            return back, ()
        return back, (Decision("served", observed.now, f"Version {champion} is served again.", champion, champion),)
    return state, ()
