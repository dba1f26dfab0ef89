"""The whole turn: from the state and what was seen to the next state and the decisions that lead there.

A function of its arguments only, so a turn that died before it was committed is decided again in the same way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from trimtab.decisions import approval, clock, delivered, judgement, lost, release, retraining, training, wishes
from trimtab.decisions.judgement import judge_merit
from trimtab.decisions.observed import MonitoringSeen, Observed
from trimtab.decisions.outcome import Decision, Outcome
from trimtab.decisions.state import NOBODY, REMEMBERED, Count, LoopState, MonitoringRun, Unanswered
from trimtab.decisions.training import Moved
from trimtab.spec.document import LoopSpec

WORTH_SAYING = ("cooldown", "budget", "backoff", "harmless")  # why a cause waits; other waits are short or seen anyway


def decide(spec: LoopSpec, state: LoopState, observed: Observed) -> Outcome:
    """Decide one turn."""
    seen, state = _known_by_now(observed), clock.watch(state, observed.now)
    before = state
    decisions: list[Decision] = []
    state, made = delivered.follow(spec, state, seen)
    decisions += made
    for wish in observed.wishes:
        state, made = wishes.answer(spec, state, seen, wish)
        decisions += made
    state, made = _watch(state, seen)
    decisions += made
    state, made = _go_back(spec, state, seen)
    decisions += made
    state, made = lost.watch(state, seen)
    decisions += made
    state, made = training.follow(spec, state, seen)
    decisions += made
    hold = ""
    if state.release is not None and state.release == before.release:
        state, made, hold = _release(spec, state, seen)
        decisions += made
    hold = hold or approval.waits(state, seen)
    if state.champion == before.champion:
        state, made, why_not = _retrain(spec, state, seen)
        decisions += made
        hold = hold or why_not
    state = _monitor(spec, state, seen)
    answered = tuple(wish.number for wish in observed.wishes)
    told = (hold or _under_way(state, observed) or observed.blind, clock.sentence(state, observed.now))
    return Outcome(state, tuple(decisions), answered, " ".join(filter(None, told)))


def _known_by_now(observed: Observed) -> Observed:
    """Without any evidence that rests on a label of a later time than now, which only a clock set back can bring."""

    def early(labels_until: datetime | None) -> bool:
        return labels_until is not None and labels_until > observed.now

    if observed.comparison is not None and early(observed.comparison.labels_until):
        observed = replace(observed, comparison=None)
    if observed.quality is not None and early(observed.quality.labels_until):
        observed = replace(observed, quality=None)
    if observed.monitoring is not None and early(observed.monitoring.labels_until):
        observed = replace(observed, monitoring=replace(observed.monitoring, unseen=(), labels_until=None))
    return observed


def _go_back(spec: LoopSpec, state: LoopState, observed: Observed) -> Moved:
    """Return to the champion before: a person asked, or the champion's server is lost."""
    if state.previous is None or state.champion is None:
        return replace(state, returning=""), ()
    old, back = state.champion, state.previous
    serving, waiting = observed.servers.get(old), observed.servers.get(back)
    if not state.returning and serving is not None and serving.state == "failed":
        state = replace(
            state, returning=f"the server of version {old} failed: {serving.reason or 'no reason was given'}"
        )
    if not state.returning or waiting is None or waiting.state == "starting":
        return state, ()
    if waiting.state == "failed":
        said = f"There is no way back to version {back}: its server failed ({waiting.reason or 'no reason was given'})."
        state = replace(state, returning="", previous=None)
        return state, (Decision("refuse", observed.now, said, back, old),)
    said = f"All requests go back to version {back}: {state.returning}."
    decision = Decision("roll-back", observed.now, said, old, back)
    begun = state.release
    if begun is not None:  # what was seen of the candidate was against another champion
        begun = release.begin(spec.release, begun.candidate, begun.cause, observed)
    rejected = training.turned_down(state, old, observed.now, said)
    state = replace(state, champion=back, champion_since=observed.now, previous=None, returning="", release=begun)
    state, asked = approval.again(replace(state, rejected=rejected), observed)
    return state, (decision, *asked)


def _watch(state: LoopState, observed: Observed) -> Moved:
    """Take in the monitoring run's end and the alarms that went up or down."""
    decisions: list[Decision] = []
    run = observed.monitoring_run
    if state.monitoring is not None and run is not None and run.key == state.monitoring.key:
        if run.state == "FAILED":
            said = (
                f"Monitoring run {run.key} failed: {run.reason or 'no reason was given'}. The next comes in its time."
            )
            decisions.append(Decision("monitoring-failed", observed.now, said, evidence={"run": run.key}))
        if run.state in ("SUCCEEDED", "FAILED"):
            state = replace(state, monitoring=None)
    seen = observed.monitoring
    if seen is not None and (
        state.champion_since is None or seen.time >= clock.past(state, observed.now, state.champion_since)
    ):
        state, made = _alarms(state, observed.now, seen)
        decisions += made
    return state, tuple(decisions)


def _alarms(state: LoopState, now: datetime, seen: MonitoringSeen) -> Moved:
    champion = state.champion or ""
    decision = Decision("alarm", now, "", champion, champion, labels_until=seen.labels_until)
    decisions: list[Decision] = []
    raised = {name: told for name, told in seen.alarms.items() if name not in state.alarms}
    if raised:
        sentence = f"Alarm: {'; '.join(text.rstrip('.') for text in raised.values())}."
        decisions.append(replace(decision, sentence=sentence, evidence={"alarms": raised}))
    if seen.verdict == "insufficient evidence":  # an alarm does not go down because too little was seen
        return replace(state, alarms=tuple(sorted({*state.alarms, *raised}))), tuple(decisions)
    gone = [name for name in state.alarms if name not in seen.alarms]
    if gone:
        sentence = f"No longer an alarm: {', '.join(gone)}."
        decisions.append(replace(decision, kind="all-clear", sentence=sentence, evidence={"alarms": gone}))
    return replace(state, alarms=tuple(sorted(seen.alarms))), tuple(decisions)


def _release(spec: LoopSpec, state: LoopState, observed: Observed) -> tuple[LoopState, tuple[Decision, ...], str]:
    """Advance the release; the last value says what it waits for."""
    under_way = state.release
    if under_way is None:
        return state, (), ""
    move = release.advance(spec.release, under_way, observed)
    why = lost.lost(state, observed)
    if why and move.action != "roll-back":
        move = release.unopposed(under_way, observed, move, f"version {state.champion} cannot be served ({why})")
    decision = Decision(
        move.action,
        observed.now,
        move.sentence,
        under_way.candidate,
        state.champion or "",
        move.evidence,
        under_way.cause.key,
        move.labels_until,
    )
    if move.action == "hold":
        state = replace(state, release=move.release)
        return state, (decision,) if move.worth_saying else (), move.sentence
    asked = state.proposal is not None and state.proposal.kind == "promote"
    if approval.wanted(spec) and (move.action == "promote" or (asked and move.action == "step")):
        return _ask_promotion(state, observed, decision)
    if move.action == "promote":
        helped = judge_merit(spec.release, observed.comparison).helps
        return wishes.promoted(state, observed, under_way.candidate, helped), (decision,), ""
    if move.action == "roll-back":
        rejected = training.turned_down(state, under_way.candidate, observed.now, move.sentence)
        return replace(approval.dropped(state), release=None, rejected=rejected), (decision,), ""
    return replace(state, release=move.release), (decision,), ""


def _ask_promotion(
    state: LoopState, observed: Observed, found: Decision
) -> tuple[LoopState, tuple[Decision, ...], str]:
    """Ask people for what the evidence allows; while they are asked, say so."""
    under_way, asked = state.release, state.proposal
    if under_way is None:
        return state, (), ""
    if asked is not None and asked.kind == "promote":
        held = replace(under_way, hold="pull-request", held_since=observed.now if asked.overdue else None)
        return replace(state, release=held), (), approval.waits(state, observed)
    state, decision = approval.ask(
        state,
        observed,
        "promote",
        under_way.candidate,
        under_way.cause,
        why=found.sentence.removeprefix(f"Version {under_way.candidate} is promoted to all requests: ").rstrip("."),
        evidence=found.evidence,
        labels_until=found.labels_until,
    )
    return state, (decision,), decision.sentence


def _retrain(spec: LoopSpec, state: LoopState, observed: Observed) -> tuple[LoopState, tuple[Decision, ...], str]:
    """Start a training run if something calls for it; the last value says why one that is called for waits."""
    state = replace(state, handled=retraining.cleared(spec, state, observed))
    found = retraining.judge(spec, state, observed)
    cause = found.cause
    if cause is None:
        return state, (), ""
    decision = Decision(
        "retrain" if found.retrain else "wait",
        observed.now,
        found.sentence,
        stable=state.champion or "",
        evidence=found.evidence,
        cause=cause.key,
        labels_until=cause.labels_until,
    )
    if found.why_not == "training":  # the run itself says what it is for
        return state, (), ""
    if found.retrain:
        return training.launch(spec, state, observed, cause), (decision,), ""
    mark = f"{cause.key} {found.why_not}"
    if found.why_not not in WORTH_SAYING or mark in state.reported:
        return state, (), found.sentence
    return replace(state, reported=(*state.reported, mark)[-REMEMBERED:]), (decision,), found.sentence


def _monitor(spec: LoopSpec, state: LoopState, observed: Observed) -> LoopState:
    """Want a monitoring run when one is due; it is not a decision that anybody needs to hear of."""
    times = (time for time in (state.monitored, state.champion_since) if time is not None)
    since = max((clock.past(state, observed.now, time) for time in times), default=None)
    if state.champion is None or since is None or state.monitoring is not None or observed.clock_went_backwards:
        return state
    if observed.now - since < max(spec.monitoring.every, timedelta(seconds=1)):
        return state
    number, champion = state.monitorings + 1, state.champion
    read = [(observed.traffic.get(one, Count()), state.counted.get(one, Count())) for one in (champion, NOBODY)]
    failures = sum(judgement.since(now, then)[1] for now, then in read)
    kept = [one for one in state.unanswered if one.until > observed.now - spec.monitoring.window]
    unanswered = (*kept, Unanswered(observed.now, failures))
    run = MonitoringRun(f"monitoring-{number}", observed.now, sum(one.failures for one in unanswered))
    return replace(
        state,
        monitoring=run,
        monitorings=number,
        monitored=observed.now,
        counted=state.counted if observed.blind else dict(observed.traffic),
        unanswered=unanswered,
    )


def _under_way(state: LoopState, observed: Observed) -> str:
    if state.training is not None:
        run = observed.training
        known = f" Just now: {run.reason}." if run is not None and run.state == "RUNNING" and run.reason else ""
        return f"The training run {state.training.run_key} is under way: {state.training.cause.sentence}.{known}"
    if state.returning:
        return f"Version {state.previous} comes back as soon as its server is ready: {state.returning}."
    return ""
