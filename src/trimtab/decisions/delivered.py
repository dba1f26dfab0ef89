"""What follows from the repository: people's answers, a person's edit, and what it serves that the loop forgot."""

from __future__ import annotations

from dataclasses import replace

from trimtab.decisions import approval
from trimtab.decisions.judgement import judge_merit
from trimtab.decisions.lost import serves_on
from trimtab.decisions.observed import AnswerSeen, Observed
from trimtab.decisions.outcome import Decision, DecisionKind
from trimtab.decisions.state import LoopState, Proposal
from trimtab.decisions.training import Moved, start_release, turned_down
from trimtab.decisions.wishes import promoted
from trimtab.decisions.wording import lasting
from trimtab.spec.document import LoopSpec


def follow(spec: LoopSpec, state: LoopState, observed: Observed) -> Moved:
    """Take in how it stands with the repository."""
    seen = observed.delivery
    if seen is None:
        return state, ()
    state, told = _trouble(state, observed, seen.trouble, seen.conflict)
    if seen.trouble:
        return state, told
    proposal, answer = state.proposal, seen.answer
    accepted = answer is not None and proposal is not None and answer.key == proposal.key and answer.state == "merged"
    if state.champion is None and seen.champion and not accepted:
        return _adopted(state, observed, seen.champion)
    if proposal is None or answer is None or answer.key != proposal.key:
        return state, told
    if answer.state == "open":
        state, made = _open(spec, state, observed, proposal)
    elif answer.state == "merged":
        state, made = _accepted(spec, state, observed, proposal, answer)
    else:
        state, made = _refused(state, observed, proposal, answer)
    return state, (*told, *made)


def _trouble(state: LoopState, observed: Observed, trouble: str, conflict: bool) -> Moved:
    """Say once that the repository does not follow, and once that it does again."""
    mark = trouble if conflict else "unreachable" if trouble else ""
    if mark == state.undelivered:
        return state, ()
    before, state = state.undelivered, replace(state, undelivered=mark)
    if not mark:
        said = "The repository follows again: it holds what was decided."
        return state, (Decision("delivered", observed.now, said, stable=state.champion or ""),)
    said = f"What was decided is not in the repository: {trouble}. Nothing is lost; a release holds until it is there."
    evidence = {"conflict": conflict, "before": before}
    return state, (Decision("undelivered", observed.now, said, stable=state.champion or "", evidence=evidence),)


def _adopted(state: LoopState, observed: Observed, version: str) -> Moved:
    said = f"Version {version} serves, as the repository says: this loop remembers no other, so it goes on from there."
    taken = replace(approval.dropped(state), champion=version, champion_since=observed.now)
    return taken, (Decision("adopt", observed.now, said, version, version),)


def _open(spec: LoopSpec, state: LoopState, observed: Observed, proposal: Proposal) -> Moved:
    waited = observed.now - proposal.asked
    if proposal.overdue or waited <= spec.release.evidence.longest_wait:
        return replace(state, proposal=replace(proposal, opened=True)), ()
    said = f"Nobody answered for {lasting(waited)}: {approval.waiting(proposal, observed)}; closing it refuses it."
    decision = Decision("hold", observed.now, said, proposal.version, state.champion or "", cause=proposal.cause.key)
    return replace(state, proposal=replace(proposal, opened=True, overdue=True)), (decision,)


def _accepted(spec: LoopSpec, state: LoopState, observed: Observed, proposal: Proposal, answer: AnswerSeen) -> Moved:
    state, version = replace(state, proposal=None), proposal.version
    evidence = {"pull_request": answer.url, "who": answer.who}
    if proposal.kind == "start":
        return _started(spec, state, observed, proposal, evidence)
    who = answer.who or "a person"
    sentence = f"Version {version} is promoted to all requests: {who} merged its pull request."
    decision = Decision("promote", observed.now, sentence, version, state.champion or "", evidence, proposal.cause.key)
    kept = tuple(one for one in state.rejected if one.version != version)
    helped = state.release is not None and judge_merit(spec.release, observed.comparison).helps
    return replace(promoted(state, observed, version, helped), rejected=kept), (decision,)


def _started(
    spec: LoopSpec, state: LoopState, observed: Observed, proposal: Proposal, evidence: dict[str, str]
) -> Moved:
    state, decision = start_release(spec, state, observed, proposal.cause, version=proposal.version, evidence=evidence)
    return state, (decision,)


def _refused(state: LoopState, observed: Observed, proposal: Proposal, answer: AnswerSeen) -> Moved:
    version, who = proposal.version, answer.who or "a person"
    serves = serves_on(state, observed)
    start = proposal.kind == "start" or state.release is None
    said = "is not released" if start else "is rolled back"
    sentence = f"Version {version} {said}: {who} closed its pull request without merging it; {serves}."
    evidence = {"pull_request": answer.url, "who": answer.who}
    kind: DecisionKind = "reject" if start else "roll-back"
    decision = Decision(kind, observed.now, sentence, version, state.champion or "", evidence, proposal.cause.key)
    rejected = turned_down(state, version, observed.now, sentence)
    release = None if not start else state.release
    return replace(state, proposal=None, release=release, rejected=rejected), (decision,)
