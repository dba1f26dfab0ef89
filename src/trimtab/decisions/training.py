"""A training run from its start to what becomes of the version it made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from trimtab.decisions import approval, release
from trimtab.decisions.lost import lost, serves_on
from trimtab.decisions.observed import Observed, RunSeen
from trimtab.decisions.outcome import Decision, DecisionKind
from trimtab.decisions.state import REMEMBERED, Cause, Handled, LoopState, Rejected, Training
from trimtab.spec.document import LoopSpec

_REFUSED = ": refused: "  # of a task's reason: the same input would be refused again
MOST_ATTEMPTS = 3  # a failed run is tried twice more
MOST_RESUMES = 5  # a run that was interrupted more often has failed

Moved = tuple[LoopState, tuple[Decision, ...]]


def launch(spec: LoopSpec, state: LoopState, observed: Observed, cause: Cause) -> LoopState:
    """The state in which a training run for this cause is wanted."""
    now, number = observed.now, state.trainings + 1
    recent = tuple(start for start in state.retrainings if now - start < spec.retraining.budget.per)
    return replace(
        state,
        training=Training(f"training-{number}", cause, now),
        trainings=number,
        last_training=now,
        retrainings=(*recent, now) if state.champion is not None else recent,
        handled=_with_handled(state, cause, now),
        reported=(),
    )


def _with_handled(state: LoopState, cause: Cause, now: datetime) -> tuple[Handled, ...]:
    if cause.kind in ("person", "schedule"):
        return state.handled
    tries = next((handled.tries for handled in state.handled if handled.subject == cause.subject), 0)
    others = tuple(handled for handled in state.handled if handled.subject != cause.subject)
    return (*others, Handled(cause.subject, cause.key, now, tries + 1))[-REMEMBERED:]


def turned_down(state: LoopState, version: str, now: datetime, sentence: str) -> tuple[Rejected, ...]:
    """The rejected versions with this one as the newest."""
    others = tuple(rejected for rejected in state.rejected if rejected.version != version)
    return (*others, Rejected(version, now, sentence))[-REMEMBERED:]


def follow(spec: LoopSpec, state: LoopState, observed: Observed) -> Moved:
    """What follows from how the run stands: nothing yet, another attempt, giving up, or a version to judge."""
    training, run = state.training, observed.training
    if training is None or run is None or run.key != training.run_key or run.state == "RUNNING" or state.returning:
        return state, ()
    if run.state == "SUCCEEDED":
        return _judge(spec, state, observed, training, run)
    reason = (run.reason or "no reason was given").rstrip(".")
    if run.state == "INTERRUPTED" and training.resumed < MOST_RESUMES:
        resumed = replace(training, resumed=training.resumed + 1)
        said = f"The training run {training.run_key} was interrupted ({reason}) and goes on where it stopped."
        return _retry(state, observed, resumed, said)
    if training.attempt < MOST_ATTEMPTS and _REFUSED not in reason:
        again = replace(training, attempt=training.attempt + 1, resumed=0)
        return _retry(
            state, observed, again, f"The training run {training.run_key} failed: {reason}. It is tried again."
        )
    return _given_up(state, observed, training, reason)


def _retry(state: LoopState, observed: Observed, training: Training, sentence: str) -> Moved:
    evidence = {"run": training.run_key, "attempt": training.attempt, "resumed": training.resumed}
    decision = Decision("retry-training", observed.now, sentence, evidence=evidence, cause=training.cause.key)
    return replace(state, training=training), (decision,)


def _given_up(state: LoopState, observed: Observed, training: Training, reason: str) -> Moved:
    attempts = "1 attempt" if training.attempt == 1 else f"{training.attempt} attempts"
    serves = serves_on(state, observed)
    sentence = (
        f"Training for {_why(training)} is given up after {attempts}: {reason}. {serves[:1].upper()}{serves[1:]}. "
        "Mend what the run's log names, then `trimtab retrain`."
    )
    evidence = {"run": training.run_key, "attempts": training.attempt, "reason": reason}
    decision = Decision(
        "training-failed",
        observed.now,
        sentence,
        stable=state.champion or "",
        evidence=evidence,
        cause=training.cause.key,
    )
    return replace(state, training=None), (decision,)


def _why(training: Training) -> str:
    return f"the cause {training.cause.subject}"


def _judge(spec: LoopSpec, state: LoopState, observed: Observed, training: Training, run: RunSeen) -> Moved:
    version, verdict = str(run.output.get("version") or ""), str(run.output.get("verdict") or "")
    if not version or verdict not in ("pass", "fail", "insufficient evidence"):
        return _given_up(state, observed, training, f"it ended with version {version!r} and verdict {verdict!r}")
    state = replace(state, training=None)
    evidence = {
        "run": training.run_key,
        "as_of": training.started.isoformat(),
        "verdict": verdict,
        "digest": str(run.output.get("digest") or ""),
        "evaluation": _readable(run.output.get("evidence")),
    }
    if version in (state.champion, state.release.candidate if state.release else None):
        return state, ()
    if verdict == "pass" or (verdict == "insufficient evidence" and _nothing_promised(spec, state, observed)):
        return _admit(spec, state, observed, training.cause, version=version, evidence=evidence)
    reasons = "; ".join(_reasons(evidence["evaluation"])) or "its evaluation names no reason"
    said = "failed the quality gates" if verdict == "fail" else "was not shown to pass the quality gates"
    alone = state.champion is None or lost(state, observed)
    serves = f"`trimtab promote {version}` serves it even so" if alone else serves_on(state, observed)
    sentence = f"Version {version} is not released: it {said} ({reasons}); {serves}."
    state = replace(state, rejected=turned_down(state, version, observed.now, sentence))
    return state, (_decided("reject", state, observed, version, sentence, evidence=evidence, cause=training.cause),)


def _nothing_promised(spec: LoopSpec, state: LoopState, observed: Observed) -> bool:
    """Whether nothing serves and no gate was asked for: then too small a hold-out is no reason to serve nothing."""
    bounds = any(metric.kind == "model" and (metric.min, metric.max) != (None, None) for metric in spec.metrics)
    nothing_serves = state.champion is None or bool(lost(state, observed))
    return nothing_serves and not bounds and not spec.quality.gates and not spec.quality.slices


def _admit(
    spec: LoopSpec, state: LoopState, observed: Observed, cause: Cause, *, version: str, evidence: Mapping[str, Any]
) -> Moved:
    if approval.wanted(spec):
        return _ask_admission(state, observed, cause, version=version, evidence=evidence)
    if state.champion is None:
        doubt = "" if evidence["verdict"] == "pass" else ", though its hold-out is too small to show its quality"
        sentence = f"Version {version} serves: it is the first, so there is nothing to compare it with{doubt}."
        decision = _decided("promote", state, observed, version, sentence, evidence=evidence, cause=cause)
        return crowned(state, observed, version), (decision,)
    decisions: tuple[Decision, ...] = ()
    why = lost(state, observed)
    if state.release is not None:
        old = state.release.candidate
        said = f"Version {old} is rolled back: version {version} takes its place{'' if why else ' in the release'}."
        decisions = (_decided("roll-back", state, observed, old, said, evidence={}, cause=state.release.cause),)
        state = replace(state, rejected=turned_down(state, old, observed.now, said))
    if why:
        sentence = f"Version {version} serves at once: version {state.champion} cannot be served ({why})."
        decided = _decided("promote", state, observed, version, sentence, evidence=evidence, cause=cause)
        return crowned(state, observed, version), (*decisions, decided)
    state, start = start_release(spec, state, observed, cause, version=version, evidence=evidence)
    return state, (*decisions, start)


def crowned(state: LoopState, observed: Observed, version: str) -> LoopState:
    """The state in which a version that was compared with nothing is champion."""
    kept = tuple(one for one in state.rejected if one.version != version)
    return replace(
        state, champion=version, champion_since=observed.now, previous=state.champion, release=None, rejected=kept
    )


def _ask_admission(
    state: LoopState, observed: Observed, cause: Cause, *, version: str, evidence: Mapping[str, Any]
) -> Moved:
    """Ask people to release the version; what is being released or asked for gives way to it."""
    decisions: tuple[Decision, ...] = ()
    old = state.release.candidate if state.release is not None else state.proposal.version if state.proposal else ""
    if old:
        said = f"Version {old} is rolled back: version {version} takes its place."
        decisions = (_decided("roll-back", state, observed, old, said, evidence={}, cause=cause),)
        state = replace(state, release=None, rejected=turned_down(state, old, observed.now, said))
    kind: Literal["start", "promote"] = "promote" if state.champion is None or lost(state, observed) else "start"
    why = cause.sentence if state.champion is not None else "it is the first, so there is nothing to compare it with"
    state, asked = approval.ask(
        state, observed, kind, version, cause, why=why, evidence=evidence, labels_until=cause.labels_until
    )
    return state, (*decisions, asked)


def start_release(
    spec: LoopSpec, state: LoopState, observed: Observed, cause: Cause, *, version: str, evidence: Mapping[str, Any]
) -> tuple[LoopState, Decision]:
    """Begin releasing a version beside the champion."""
    begun = release.begin(spec.release, version, cause, observed)
    how = {
        "shadow": "it shadows all requests, and its answers are thrown away",
        "warming": "its server starts; no request goes to it yet",
    }
    sentence = f"The release of version {version} starts ({cause.sentence}): {how[begun.phase]}."
    rejected = tuple(one for one in state.rejected if one.version != version)
    return (
        replace(state, release=begun, rejected=rejected),
        _decided("start", state, observed, version, sentence, evidence=evidence, cause=cause),
    )


def _decided(
    kind: DecisionKind,
    state: LoopState,
    observed: Observed,
    version: str,
    sentence: str,
    *,
    evidence: Mapping[str, Any],
    cause: Cause,
) -> Decision:
    return Decision(
        kind, observed.now, sentence, version, state.champion or "", evidence, cause.key, cause.labels_until
    )


def _readable(evidence: Any) -> Any:
    """The evaluation as JSON, if the pipeline gave JSON; else its text."""
    if not isinstance(evidence, str):
        return evidence
    try:
        return json.loads(evidence)
    except ValueError:
        return evidence


def _reasons(evaluation: Any) -> list[str]:
    found = evaluation.get("reasons") if isinstance(evaluation, Mapping) else None
    return [str(reason) for reason in found] if isinstance(found, list) else []
