"""When to train again, and why not now.

A cause is a standing condition: quality below a promise or below the champion's own hold-out, drift on what the model
uses, a class it never saw, the schedule, a person. One occasion of it starts one run. It may start another one only
after the cooldown, doubled for each run in a row that did not make it better, and only on evidence newer than that run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trimtab.decisions import clock
from trimtab.decisions.conditions import Condition, conditions, gone
from trimtab.decisions.observed import Observed
from trimtab.decisions.state import Cause, Handled, LoopState
from trimtab.decisions.wording import counted, lasting
from trimtab.spec.document import LoopSpec
from trimtab.spec.retraining import Retraining as Policy

MOST_DOUBLINGS = 4  # the wait after runs that did not help grows to sixteen cooldowns, no further


@dataclass(frozen=True)
class RetrainDecision:
    """Whether to train now. Without a cause nothing stands; with one and no retraining, `sentence` says why not now."""

    retrain: bool
    cause: Cause | None
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    why_not: str = ""  # a code


def judge(spec: LoopSpec, state: LoopState, observed: Observed) -> RetrainDecision:
    """The first cause that may start a run now; else the first that stands, with the reason why it waits."""
    waiting: RetrainDecision | None = None
    for condition in conditions(spec, state, observed):
        cause = _cause(condition, state)
        code, why = _why_not(spec.retraining, state, observed, condition)
        if not code:
            return RetrainDecision(True, cause, f"Training starts: {cause.sentence}.", cause.evidence)
        if waiting is None:
            sentence = f"No training yet, though {cause.sentence}: {why}."
            if code == "training":
                sentence = f"The training run that is under way may answer this too: {cause.sentence}."
            waiting = RetrainDecision(False, cause, sentence, cause.evidence, code)
    return waiting or RetrainDecision(False, None, "Nothing calls for training.")


def person_cause(number: int, who: str) -> Cause:
    """The cause of a run that a person asked for; never refused for cooldown, budget or a release."""
    return Cause(
        "person", "person", f"person:{number}", f"{who or 'a person'} asked for it", {"wish": number, "who": who}
    )


def cleared(spec: LoopSpec, state: LoopState, observed: Observed) -> tuple[Handled, ...]:
    """What of `state.handled` still stands, or is not known to have gone: the rest may start afresh, without a wait."""
    standing = {condition.subject for condition in conditions(spec, state, observed)}
    return tuple(kept for kept in state.handled if kept.subject in standing or not gone(spec, state, observed, kept))


def _handled(state: LoopState, subject: str) -> Handled | None:
    return next((handled for handled in state.handled if handled.subject == subject), None)


def _cause(condition: Condition, state: LoopState) -> Cause:
    """One occasion: the condition, the champion it is about, and how many runs were started before."""
    key = f"{condition.subject}@{state.champion or 'none'}#{state.trainings}"
    return Cause(condition.kind, condition.subject, key, condition.sentence, condition.evidence, condition.labels_until)


def _why_not(policy: Policy, state: LoopState, observed: Observed, condition: Condition) -> tuple[str, str]:
    """A code and the words for why a cause starts no run now; ("", "") when it may."""
    return next(_hindrances(policy, state, observed, condition), ("", ""))


def _hindrances(
    policy: Policy, state: LoopState, observed: Observed, condition: Condition
) -> Iterator[tuple[str, str]]:
    now = observed.now
    last = clock.past(state, now, state.last_training) if state.last_training is not None else None
    if state.training is not None:
        yield "training", "a training run is under way"
    if observed.clock_went_backwards:
        yield "clock", "the clock went backwards"
    if condition.harmless:
        yield "harmless", condition.harmless
    if state.release is not None and state.release.held_since is None:
        yield "release", f"version {state.release.candidate} is being released"
    if state.proposal is not None and not state.proposal.overdue:
        yield "proposal", f"version {state.proposal.version} waits for its pull request"
    serves = state.champion is not None and condition.kind != "unserved"
    if serves and last is not None and now - last < policy.cooldown:
        yield "cooldown", f"the cooldown of {lasting(policy.cooldown)} ends {_day(last + policy.cooldown)}"
    yield from _tried(policy, state, observed, condition)
    recent = [start for start in state.retrainings if now - clock.past(state, now, start) < policy.budget.per]
    if serves and len(recent) >= policy.budget.runs:
        yield "budget", f"the budget of {counted(policy.budget.runs, 'run')} in {lasting(policy.budget.per)} is spent"


def _tried(policy: Policy, state: LoopState, observed: Observed, condition: Condition) -> Iterator[tuple[str, str]]:
    """What follows from runs for the same condition that did not end it."""
    handled = _handled(state, condition.subject)
    if handled is None:
        return
    started = clock.past(state, observed.now, handled.started)
    until = started + policy.cooldown * 2 ** min(handled.tries - 1, MOST_DOUBLINGS)
    if observed.now < until:
        runs = counted(handled.tries, "run")
        yield "backoff", f"{runs} for this did not make it better; the next may start {_day(until)}"
    if not condition.seen > started:
        yield "evidence", "nothing new was seen since the last run for this"


def _day(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="minutes")
