"""What people asked for: promote, roll back, retrain. Every wish is answered in the turn that sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from trimtab.decisions import approval
from trimtab.decisions.lost import lost, serves_on
from trimtab.decisions.observed import Observed, WishSeen
from trimtab.decisions.outcome import Decision, DecisionKind, Outcome
from trimtab.decisions.release import gather
from trimtab.decisions.retraining import person_cause
from trimtab.decisions.state import Cause, LoopState
from trimtab.decisions.training import Moved, crowned, launch, start_release, turned_down
from trimtab.spec.document import LoopSpec


def answer(spec: LoopSpec, state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    """Do what was asked, or say why not and what to do instead."""
    if wish.kind == "promote":
        return _promote(spec, state, observed, wish)
    if wish.kind == "rollback":
        return _roll_back(state, observed, wish)
    if wish.kind == "retrain":
        return _retrain(spec, state, observed, wish)
    return _refuse(state, observed, wish, f"{wish.kind!r} is not known; a wish is promote, rollback or retrain")


def unattended(spec: LoopSpec, state: LoopState, observed: Observed) -> Outcome:
    """The wishes alone, with nobody running the loop: nothing else was looked at, so nothing else is decided."""
    decisions: list[Decision] = []
    for wish in observed.wishes:
        state, made = answer(spec, state, observed, wish)
        decisions += made
        if not made:  # the way back is taken by a turn that sees its server
            said = f"Version {state.previous} comes back as soon as its server is ready: {_who(wish)} asked."
            decisions.append(_said("hold", state, observed, wish, version=state.previous or "", sentence=said))
    return Outcome(state, tuple(decisions), tuple(wish.number for wish in observed.wishes))


def _who(wish: WishSeen) -> str:
    return wish.who or "a person"


def _refuse(state: LoopState, observed: Observed, wish: WishSeen, why: str) -> Moved:
    return state, (
        _said(
            "refuse",
            state,
            observed,
            wish,
            version=wish.version,
            sentence=f"Not done, though {_who(wish)} asked: {why}.",
        ),
    )


def _said(
    kind: DecisionKind, state: LoopState, observed: Observed, wish: WishSeen, *, version: str, sentence: str
) -> Decision:
    evidence = {"wish": wish.number, "who": wish.who}
    return Decision(kind, observed.now, sentence, version, state.champion or "", evidence, wish=wish.number)


def _promote(spec: LoopSpec, state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    candidate = state.release.candidate if state.release is not None else ""
    version = wish.version or candidate
    asked = state.proposal
    if asked is not None and (wish.version or asked.version) == asked.version:
        return _refuse(state, observed, wish, approval.waiting(asked, observed))
    if version and version == candidate:
        return _promote_candidate(spec, state, observed, wish)
    why = _no_promotion(state, version, candidate)
    if why:
        return _refuse(state, observed, wish, why)
    if version == state.previous:
        return _return(state, observed, wish)
    return _release_rejected(spec, state, observed, wish, version)


def _no_promotion(state: LoopState, version: str, candidate: str) -> str:
    """Why this version, which is not the candidate, cannot be promoted; empty if it can."""
    if not version:
        return "no release is under way; name a version"
    if version == state.champion:
        return f"version {version} serves already"
    if candidate:
        return f"version {candidate} is being released; promote it or roll it back first"
    if version == state.previous or any(rejected.version == version for rejected in state.rejected):
        return ""
    return f"version {version} is neither being released, nor was it rejected, nor is it the way back"


def _promote_candidate(spec: LoopSpec, state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    release = state.release
    if release is None:
        return state, ()
    server = observed.servers.get(release.candidate)
    if server is None or server.state != "ready":
        reason = server.reason if server else ""
        why = f"the server of version {release.candidate} is not ready {f'({reason})' if reason else 'yet'}"
        return _refuse(state, observed, wish, why)
    found = gather(spec.release, release, observed)
    if approval.wanted(spec):
        why, evidence = f"{_who(wish)} asked. {found.sentence}", {"who": wish.who, **found.to_json()}
        return _ask(
            state, observed, wish, "promote", version=release.candidate, cause=release.cause, why=why, evidence=evidence
        )
    sentence = f"Version {release.candidate} is promoted to all requests: {_who(wish)} asked. {found.sentence}."
    decision = replace(
        _said("promote", state, observed, wish, version=release.candidate, sentence=sentence),
        cause=release.cause.key,
        labels_until=found.labels_until,
    )
    decision = replace(decision, evidence={**decision.evidence, **found.to_json()})
    return promoted(state, observed, release.candidate, helped=found.merit.helps), (decision,)


def promoted(state: LoopState, observed: Observed, version: str, helped: bool) -> LoopState:
    """The state in which a candidate is champion. If it is clearly better, its cause may come again without a wait."""
    subject = state.release.cause.subject if state.release is not None and helped else ""
    return replace(
        state,
        champion=version,
        champion_since=observed.now,
        previous=state.champion,
        release=None,
        returning="",
        handled=tuple(handled for handled in state.handled if handled.subject != subject),
    )


def _release_rejected(spec: LoopSpec, state: LoopState, observed: Observed, wish: WishSeen, version: str) -> Moved:
    cause = person_cause(wish.number, wish.who)
    if approval.wanted(spec):
        kind: Literal["start", "promote"] = "promote" if state.champion is None or lost(state, observed) else "start"
        why, evidence = f"{_who(wish)} asked, though it was turned down", {"who": wish.who}
        return _ask(state, observed, wish, kind, version=version, cause=cause, why=why, evidence=evidence)
    if state.champion is not None and not lost(state, observed):
        state, start = start_release(
            spec, state, observed, cause, version=version, evidence={"wish": wish.number, "who": wish.who}
        )
        return state, (replace(start, wish=wish.number),)
    sentence = f"Version {version} serves, though it did not pass: {_who(wish)} asked, and nothing else serves."
    decision = _said("promote", state, observed, wish, version=version, sentence=sentence)
    return crowned(state, observed, version), (decision,)


def _ask(
    state: LoopState,
    observed: Observed,
    wish: WishSeen,
    kind: Literal["start", "promote"],
    *,
    version: str,
    cause: Cause,
    why: str,
    evidence: Mapping[str, Any],
) -> Moved:
    """Who asks the loop for a version asks, through it, whoever may merge."""
    state, decision = approval.ask(state, observed, kind, version, cause, why=why, evidence=evidence, wish=wish.number)
    return state, (decision,)


def _drop_asked(state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    """Nobody is asked for the version any more."""
    version = state.proposal.version if state.proposal is not None else ""
    sentence = f"Version {version} is not released: {_who(wish)} asked. Its pull request is closed."
    decision = _said("reject", state, observed, wish, version=version, sentence=sentence)
    return replace(approval.dropped(state), rejected=turned_down(state, version, observed.now, sentence)), (decision,)


def _roll_back(state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    release = state.release
    if release is not None and wish.version in ("", release.candidate):
        takes = f"version {state.champion} takes all" if not lost(state, observed) else serves_on(state, observed)
        sentence = f"Version {release.candidate} is rolled back: {_who(wish)} asked; {takes}."
        decision = _said("roll-back", state, observed, wish, version=release.candidate, sentence=sentence)
        rejected = turned_down(state, release.candidate, observed.now, sentence)
        return replace(approval.dropped(state), release=None, rejected=rejected), (
            replace(decision, cause=release.cause.key),
        )
    if release is None and state.proposal is not None and wish.version in ("", state.proposal.version):
        return _drop_asked(state, observed, wish)
    if wish.version not in ("", state.champion, state.previous):
        return _refuse(state, observed, wish, f"version {wish.version} does not serve")
    if state.previous is None:
        return _refuse(state, observed, wish, "there is no version to go back to")
    return _return(state, observed, wish)


def _return(state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    """Wish for the champion before; `turn` goes back at once if its server is ready."""
    version = state.previous or ""
    state = replace(state, returning=f"{_who(wish)} asked")
    server = observed.servers.get(version)
    if server is not None and server.state == "ready":
        return state, ()
    sentence = f"Version {version} comes back as soon as its server is ready: {_who(wish)} asked."
    return state, (_said("hold", state, observed, wish, version=version, sentence=sentence),)


def _retrain(spec: LoopSpec, state: LoopState, observed: Observed, wish: WishSeen) -> Moved:
    if state.training is not None:
        return _refuse(state, observed, wish, f"the training run {state.training.run_key} is under way already")
    cause = person_cause(wish.number, wish.who)
    decision = _said("retrain", state, observed, wish, version="", sentence=f"Training starts: {cause.sentence}.")
    return launch(spec, state, observed, cause), (replace(decision, cause=cause.key),)
