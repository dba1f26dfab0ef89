"""What a person at `trimtab up` should know of the parts that run, said when it changes and not again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trimtab.decisions.state import LoopState
from trimtab.decisions.wording import counted
from trimtab.ports.turns import Turn

_LOG_ENDS = "; its log ends: "


class Changes:
    """Remembers what was said last of each part; what a part did before this began is no news."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def told(self, turn: Turn) -> list[str]:
        """Lines about what changed since the turn before."""
        lines = []
        for part, line in _stand(turn):
            if line and line != self._said.get(part, ""):
                lines.append(line)
            self._said[part] = line
        return lines


def short(reason: str) -> str:
    """A reason in one line, without the end of the log that it may quote."""
    return " ".join(reason.partition(_LOG_ENDS)[0].split()).rstrip(".")


def _stand(turn: Turn) -> Iterator[tuple[str, str]]:
    """Each part with a line about it; an empty one if there is nothing to say."""
    seen = turn.observed
    servers: Mapping[str, Mapping[str, Any]] = seen.get("servers", {})
    for version, one in servers.items():
        yield f"server {version}", _server(version, one)
    router = (seen.get("router") or {}).get("restarts", 0)
    yield "router", f"the router was started again, {counted(router, 'restart')} so far" if router else ""
    yield "collector", _collector(seen.get("collector") or {})
    yield "nothing serves", _nothing_serves(turn, servers)


def _server(version: str, one: Mapping[str, Any]) -> str:
    restarts, reason = one.get("restarts", 0), one.get("reason", "")
    if one["state"] == "failed":
        return f"the server of version {version} failed: {' '.join(reason.split()) or 'no reason was given'}"
    if one["state"] == "starting":
        return f"the server of version {version} is starting again: {short(reason)}" if reason else ""
    return f"the server of version {version} is ready again, {counted(restarts, 'restart')} so far" if restarts else ""


def _collector(one: Mapping[str, Any]) -> str:
    if one.get("reason"):
        return f"the collector of labels is starting again: {short(one['reason'])}"
    restarts = one.get("restarts", 0)
    return f"the collector of labels is ready again, {counted(restarts, 'restart')} so far" if restarts else ""


def _nothing_serves(turn: Turn, servers: Mapping[str, Mapping[str, Any]]) -> str:
    state, hold = LoopState.from_json(turn.state), turn.observed.get("hold") or ""
    without = state.champion is None or bool(state.unserved)
    if (
        not hold
        or not without
        or state.training is not None
        or any(one["state"] == "ready" for one in servers.values())
    ):
        return ""
    return f"no version serves: {hold} Next step: trimtab retrain"
