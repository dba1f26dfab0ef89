"""The status of a ModelLoop: a pure function of what was last seen. Its shape is that of trimtab.spec.crd_status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trimtab.decisions.state import LoopState
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop

Json = dict[str, Any]
LONGEST_MESSAGE = 32_000


@dataclass(frozen=True)
class Seen:
    """What is known of a loop. `turn` is its newest turn, if any; `last` its newest decision."""

    generation: int
    now: datetime
    document: ModelLoop | None = None
    problems: tuple[str, ...] = ()
    turn: Turn | None = None
    last: Mapping[str, Any] | None = None
    failure: str = ""
    remark: str = ""  # of a part that holds up no turn


def status_of(seen: Seen, conditions: Sequence[Mapping[str, Any]]) -> Json:
    """The whole status as a merge patch: what is not there is None. `conditions` are those of before."""
    state = LoopState() if seen.turn is None else LoopState.from_json(seen.turn.state)
    told = {name: _condition(name, judge(seen, state), conditions, seen) for name, judge in _CONDITIONS.items()}
    release = state.release
    return {
        "observedGeneration": seen.generation,
        "phase": _phase(seen, state),
        "champion": state.champion,
        "challenger": release.candidate if release else None,
        "trafficPercent": release.candidate_percent if release else None,
        "drift": _drift(seen.turn),
        "message": _short(_message(seen, told["Ready"])),
        "lastTurn": _stamp(seen.turn.time) if seen.turn is not None else None,
        "release": _release(seen, state),
        "lastDecision": _decision(seen.last, seen.turn),
        "conditions": list(told.values()),
    }


def _phase(seen: Seen, state: LoopState) -> str:
    if seen.problems:
        return "Failed"
    if seen.failure:
        return "Degraded"
    if state.release is not None:
        return "Releasing"
    if state.champion is None:
        return "Training" if state.training is not None else "Pending"
    return "Serving"


def _message(seen: Seen, ready: Mapping[str, Any]) -> str:
    if seen.problems:
        return f"The document is refused, so nothing is changed: {'; '.join(seen.problems)}"
    if seen.failure:
        return f"The last turn failed and is repeated: {seen.failure}"
    return str((seen.last or {}).get("sentence") or ready["message"])


def _drift(turn: Turn | None) -> str:
    if turn is None:
        return "unknown"
    monitoring = turn.observed.get("monitoring")
    if not monitoring or monitoring.get("verdict") == "insufficient evidence":
        return "unknown"
    names = {*(monitoring.get("alarms") or ()), *(turn.state.get("alarms") or ())}
    return "drifting" if any(name.startswith("drift") for name in names) else "none"


def _release(seen: Seen, state: LoopState) -> Json | None:
    release = state.release
    if release is None:
        return None
    steps = len(seen.document.spec.release.steps) if seen.document is not None else 0
    hold = release.hold or (seen.turn.observed.get("hold") if seen.turn else "")
    return {
        "version": release.candidate,
        "stage": "holding" if release.held_since else release.phase,
        "step": len(release.steps),
        "steps": steps,
        "percent": release.candidate_percent,
        "since": _stamp(release.phase_started),
        "message": f"waits for: {hold}" if hold else None,
    }


def _decision(last: Mapping[str, Any] | None, turn: Turn | None) -> Json | None:
    if last is None:
        return None
    return {
        "time": _stamp(datetime.fromisoformat(str(last["time"]))),
        "what": str(last["kind"]),
        "why": _short(str(last["sentence"])),
        "version": str(last.get("version") or "") or None,
        "turn": str(turn.number) if turn is not None and last in list(turn.decisions) else None,
    }


def _accepted(seen: Seen, _: LoopState) -> tuple[str, str, str]:
    if seen.problems:
        return "False", "DocumentRefused", "; ".join(seen.problems)
    return "True", "DocumentAccepted", "The document keeps every rule."


def _ready(seen: Seen, state: LoopState) -> tuple[str, str, str]:
    if state.champion is None:
        return "False", "NoChampion", "No version serves yet."
    server = (seen.turn.observed.get("servers") or {}).get(state.champion) if seen.turn is not None else None
    if server is None:
        return "Unknown", "ServerNotSeen", f"The server of version {state.champion} was not looked at yet."
    if server["state"] == "ready":
        return "True", "ChampionServes", f"Version {state.champion} serves."
    why = server.get("reason") or server["state"]
    return "False", "ServerNotReady", f"The server of version {state.champion} is not ready: {why}"


def _progressing(seen: Seen, state: LoopState) -> tuple[str, str, str]:
    if state.release is not None:
        release = state.release
        said = f"Version {release.candidate} is released: {release.phase}, {release.candidate_percent} %."
        return "True", "Releasing", said
    if state.training is not None:
        run = (seen.turn.observed.get("training") or {}) if seen.turn is not None else {}
        waits = f" It waits: {run['reason']}" if run.get("reason") and run.get("state") == "RUNNING" else ""
        return "True", "Training", f"{state.training.cause.sentence}{waits}"
    return "False", "Settled", "Nothing is under way."


def _degraded(seen: Seen, state: LoopState) -> tuple[str, str, str]:
    if seen.failure:
        return "True", "TurnFailed", seen.failure
    if state.alarms:
        return "True", "Alarms", f"Alarms are up: {', '.join(state.alarms)}"
    blind = seen.turn.observed.get("blind") if seen.turn is not None else ""
    if blind and state.champion is not None:
        return "True", "Blind", f"Nobody knows how requests go, so no release moves on: {blind}"
    if seen.remark:
        return "True", "Behind", seen.remark
    return "False", "AsExpected", "The last turn went through and no alarm is up."


_CONDITIONS = {"Accepted": _accepted, "Ready": _ready, "Progressing": _progressing, "Degraded": _degraded}


def _condition(name: str, judged: tuple[str, str, str], conditions: Sequence[Mapping[str, Any]], seen: Seen) -> Json:
    """The condition; its time moves only when its status does."""
    status, reason, message = judged
    before = next((one for one in conditions if one["type"] == name), None)
    moved = before is None or before["status"] != status
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": _short(message),
        "observedGeneration": seen.generation,
        "lastTransitionTime": _stamp(seen.now) if moved or before is None else before["lastTransitionTime"],
    }


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
