"""With `delivery: gitops` people accept a new version and a promotion: what is asked, and what it would bring.

Steps between and every way back need nobody: they are the loop's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from trimtab.decisions.observed import Observed
from trimtab.decisions.outcome import Decision
from trimtab.decisions.state import Cause, LoopState, Proposal, RoutesWanted
from trimtab.spec.document import LoopSpec
from trimtab.spec.release import Release as Policy


def wanted(spec: LoopSpec) -> bool:
    """Whether people are asked."""
    return spec.release.delivery == "gitops"


def ask(
    state: LoopState,
    observed: Observed,
    kind: Literal["start", "promote"],
    version: str,
    cause: Cause,
    *,
    why: str,
    evidence: Mapping[str, Any],
    labels_until: datetime | None = None,
    wish: int | None = None,
) -> tuple[LoopState, Decision]:
    """Ask for it; what was asked for before is taken back."""
    state = dropped(state)
    number = state.proposals + 1
    proposal = Proposal(f"{kind}-{version}-{number}", kind, version, state.champion, cause, observed.now)
    verb = "release" if kind == "start" else "promote"
    sentence = f"A pull request asks to {verb} version {version}: {why}."
    decision = Decision(
        "propose", observed.now, sentence, version, state.champion or "", evidence, cause.key, labels_until, wish
    )
    return replace(state, proposal=proposal, proposals=number), decision


def dropped(state: LoopState) -> LoopState:
    """The state in which nobody is asked any more."""
    return state if state.proposal is None else replace(state, proposal=None, withdrawn=state.proposal)


def again(state: LoopState, observed: Observed) -> tuple[LoopState, tuple[Decision, ...]]:
    """The champion is another one, so what was asked is asked anew; a promotion was judged against the one before."""
    asked = state.proposal
    if asked is None or asked.kind == "promote":
        return dropped(state), ()
    why = f"version {state.champion} serves again"
    state, decision = ask(state, observed, "start", asked.version, asked.cause, why=why, evidence={})
    return state, (decision,)


def waiting(proposal: Proposal, observed: Observed) -> str:
    """What is waited for, with the address if it is known."""
    seen = observed.delivery.answer if observed.delivery is not None else None
    where = seen.url if seen is not None and seen.key == proposal.key else ""
    verb = "released" if proposal.kind == "start" else "promoted"
    return f"version {proposal.version} is {verb} when its pull request is merged{f' ({where})' if where else ''}"


def waits(state: LoopState, observed: Observed) -> str:
    """The same as a sentence; empty if nobody is asked."""
    said = waiting(state.proposal, observed) if state.proposal is not None else ""
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def if_accepted(policy: Policy, proposal: Proposal) -> tuple[RoutesWanted, str | None]:
    """The routes that follow from accepting it, and the version kept warm."""
    if proposal.kind == "promote" or proposal.stable is None:
        previous = proposal.stable if policy.strategy == "blue-green" else None
        return RoutesWanted(proposal.version, None, 0, 0), previous
    copies = 100 if policy.shadow or policy.strategy == "shadow" else 0
    return RoutesWanted(proposal.stable, proposal.version, 0, copies), None
