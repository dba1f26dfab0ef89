"""What a turn decides: values with a sentence for a person on call and the evidence behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from trimtab.decisions.exact import decode, encode
from trimtab.decisions.state import LoopState

DecisionKind = Literal[
    "retrain",  # a training run is started, for `cause`
    "wait",  # a cause stands, but it is not the time for a training run
    "retry-training",  # a failed or interrupted run is taken up again
    "training-failed",  # a run was given up
    "reject",  # a trained version is not released
    "start",  # a release starts
    "step",  # more traffic moves to the candidate
    "hold",  # a release waits for evidence, and its reason changed
    "propose",  # people are asked by pull request
    "adopt",  # a loop without a memory takes up what the repository serves
    "undelivered",  # the repository does not hold what was decided
    "delivered",  # it does again
    "promote",  # a version becomes champion
    "roll-back",  # all traffic goes to the stable version, or back to the champion before
    "refuse",  # a person's wish cannot be met
    "alarm",  # monitoring raised alarms that were not up
    "all-clear",  # alarms went down
    "unserved",  # the champion cannot be served, and there is no way back
    "served",  # it can again
    "monitoring-failed",  # a monitoring run was given up
]


@dataclass(frozen=True)
class Decision:
    """One decision. `labels_until` is the newest time at which a label behind it became known: never after `time`."""

    kind: DecisionKind
    time: datetime
    sentence: str
    version: str = ""  # the version it is about
    stable: str = ""  # the version that serves (after a promotion: the one before)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""
    labels_until: datetime | None = None
    wish: int | None = None  # the wish it answers

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, for the ledger."""
        return dict(encode(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Decision:
        """What `to_json` wrote; raises ValueError for anything that does not fit."""
        return decode(cls, data)


@dataclass(frozen=True)
class Outcome:
    """A turn's outcome: the next state, what was decided, which wishes are answered, and what is waited for now."""

    state: LoopState
    decisions: tuple[Decision, ...] = ()
    answered: tuple[int, ...] = ()
    hold: str = ""
