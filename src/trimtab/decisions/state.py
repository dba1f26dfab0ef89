"""What the loop remembers between turns: one frozen value, stored with every turn, from which everything follows.

State moves by copying. The router's weights, the servers that run and the runs that are wanted are functions of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from trimtab.decisions.exact import decode, encode

FORMAT = 1
NOBODY = ""  # stands where a version does in counters: requests that no version was there to answer
REMEMBERED = 100  # causes and rejected versions kept; older ones are in the ledger

CauseKind = Literal["first", "unserved", "quality", "drift", "new-class", "schedule", "person"]


@dataclass(frozen=True)
class Cause:
    """Why a training run is started.

    `subject` names the standing condition (`quality:accuracy`, `drift`, `new-class:Chaetodipus`). `key` names this one
    occasion of it: the same however often it is reported, another one once the loop may try again.
    """

    kind: CauseKind
    subject: str
    key: str
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    labels_until: datetime | None = None


@dataclass(frozen=True)
class Count:
    """A version's counters at the router; `epoch` changes when the router starts anew and counts from nought."""

    requests: int = 0
    failures: int = 0
    epoch: str = ""


@dataclass(frozen=True)
class Step:
    """A canary step: its percentage and when it began."""

    percent: int
    began: datetime


@dataclass(frozen=True)
class Release:
    """A candidate on its way. Percentages are whole numbers of all requests, 0 to 100.

    warming: no requests until its server is ready; shadow: a copy of each request, its answers thrown away;
    canary: a share of the requests.
    """

    candidate: str
    cause: Cause
    started: datetime
    phase: Literal["warming", "shadow", "canary"]
    phase_started: datetime  # when this step began
    candidate_percent: int = 0
    mirror_percent: int = 0
    held_since: datetime | None = None  # longest_wait passed undecided; it goes on if evidence comes
    unready_since: datetime | None = None  # its server has not been ready since then
    hold: str = ""  # what it waits for (a code)
    steps: tuple[Step, ...] = ()  # canary steps so far
    next_look: int = 0  # after it looked worse: labels at which quality is looked at again
    counted: Mapping[str, Count] = field(default_factory=dict)  # the router's counters when this step began


@dataclass(frozen=True)
class Training:
    """The training run under way. `run_key` is the key at the pipeline runner: one run a key."""

    key: str
    cause: Cause
    started: datetime
    attempt: int = 1  # a failed run is tried again, as a run of its own
    resumed: int = 0  # times it was found interrupted and was resumed

    @property
    def run_key(self) -> str:
        """The pipeline runner's key of this attempt."""
        return self.key if self.attempt == 1 else f"{self.key}-attempt-{self.attempt}"


@dataclass(frozen=True)
class Handled:
    """A standing condition for which the loop retrained, and how often in a row without it getting better."""

    subject: str
    key: str  # of the newest cause
    started: datetime  # the newest run for it
    tries: int


@dataclass(frozen=True)
class Rejected:
    """A version that was turned down, with the sentence that says why."""

    version: str
    time: datetime
    sentence: str


@dataclass(frozen=True)
class Unanswered:
    """Requests that the champion did not answer between two looks, the later at `until`."""

    until: datetime
    failures: int


@dataclass(frozen=True)
class MonitoringRun:
    """The monitoring run under way: its key at the pipeline runner, the time it looks back from.

    `failures`: requests of its window that the champion did not answer; the prediction log does not know of them.
    """

    key: str
    started: datetime
    failures: int = 0


@dataclass(frozen=True)
class Proposal:
    """What people are asked for by pull request: to start a release, or to promote; `stable` serves meanwhile."""

    key: str  # one occasion of asking
    kind: Literal["start", "promote"]
    version: str
    stable: str | None
    cause: Cause
    asked: datetime
    opened: bool = False  # it was seen open
    overdue: bool = False  # nobody answered for `longest_wait`: other versions may be trained


@dataclass(frozen=True)
class LoopState:
    """Everything the loop remembers."""

    champion: str | None = None
    champion_since: datetime | None = None
    previous: str | None = None  # the champion before: the instant way back
    returning: str = ""  # why the loop goes back to `previous` as soon as its server is ready
    release: Release | None = None
    training: Training | None = None
    trainings: int = 0  # runs started so far; makes their keys
    last_training: datetime | None = None  # when the newest run started, for cooldown and schedule
    retrainings: tuple[datetime, ...] = ()  # starts of retrainings inside the budget's time
    handled: tuple[Handled, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    monitoring: MonitoringRun | None = None
    monitorings: int = 0
    monitored: datetime | None = None  # `now` of the newest monitoring run that was started
    counted: Mapping[str, Count] = field(default_factory=dict)  # the router's counters then, by version
    unanswered: tuple[Unanswered, ...] = ()  # those of the monitoring window, oldest first
    alarms: tuple[str, ...] = ()  # names of the alarms that are up
    proposal: Proposal | None = None  # with gitops: what waits for a pull request
    proposals: int = 0  # asked for so far; makes their keys
    withdrawn: Proposal | None = None  # the newest one that the loop itself took back
    set_back: datetime | None = None  # first seen that remembered times lie ahead of the clock
    unserved: str = ""  # the champion that could not be served, as last reported
    unserved_since: datetime | None = None
    undelivered: str = ""  # why the repository does not hold this state, as last reported
    reported: tuple[str, ...] = ()  # causes and why they wait, so that each is reported once; emptied by a training

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the format's number."""
        return {"format": FORMAT, **encode(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoopState:
        """The state out of what `to_json` wrote; raises ValueError for another format or anything that does not fit."""
        found = data.get("format")
        if found != FORMAT:
            raise ValueError(f"loop state of format {found!r}; this trimtab reads format {FORMAT}")
        return decode(cls, {name: value for name, value in data.items() if name != "format"})


@dataclass(frozen=True)
class RoutesWanted:
    """Where requests shall go: versions, and whole percentages of all requests."""

    stable: str | None
    candidate: str | None
    candidate_percent: int
    mirror_percent: int


def routes_of(state: LoopState) -> RoutesWanted:
    """The routes that follow from the state; there is no other source of weights."""
    release = state.release
    if release is None:
        return RoutesWanted(state.champion, None, 0, 0)
    return RoutesWanted(state.champion, release.candidate, release.candidate_percent, release.mirror_percent)


def versions_of(state: LoopState, keep_previous: bool) -> tuple[str, ...]:
    """The versions whose servers shall run: champion, candidate, and the way back if it is kept warm or needed."""
    wanted = [state.champion, state.release.candidate if state.release else None]
    if keep_previous or state.returning:
        wanted.append(state.previous)
    return tuple(dict.fromkeys(version for version in wanted if version is not None))
