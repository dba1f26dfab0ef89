"""A clock that was ahead and was put right: what happened by it lies in a future that must not stop the loop.

A remembered time that lies ahead counts as the moment at which that was first seen, until the clock has passed it. So
nothing waits longer than it would have, and nothing that was remembered is lost should the clock be wrong just now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from trimtab.decisions.state import LoopState


def watch(state: LoopState, now: datetime) -> LoopState:
    """The state that remembers since when remembered times lie ahead; the same as long as that does not change."""
    ahead = any(time > now for time in _times(state))
    seen = state.set_back
    wanted = (seen if seen is not None and seen <= now else now) if ahead else None
    return state if wanted == seen else replace(state, set_back=wanted)


def past(state: LoopState, now: datetime, time: datetime) -> datetime:
    """The time, or what it counts as while it lies ahead."""
    return time if time <= now else state.set_back or now


def sentence(state: LoopState, now: datetime) -> str:
    """That remembered times lie ahead, and how they count; empty if none does."""
    newest = max(_times(state), default=now)
    if newest <= now or state.set_back is None:
        return ""
    held = (
        " The release holds until then; `trimtab promote` or `trimtab rollback` ends it." if _holds(state, now) else ""
    )
    return (
        f"The clock was ahead, up to {_minute(newest)}, and was set back: until it has passed that, what happened in "
        f"that time counts as of {_minute(state.set_back)}.{held}"
    )


def _holds(state: LoopState, now: datetime) -> bool:
    return state.release is not None and state.release.phase_started > now


def _times(state: LoopState) -> Iterator[datetime]:
    yield from (one for one in (state.champion_since, state.last_training, state.monitored) if one is not None)
    yield from state.retrainings
    yield from (handled.started for handled in state.handled)
    if state.release is not None:
        yield state.release.phase_started


def _minute(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="minutes")
