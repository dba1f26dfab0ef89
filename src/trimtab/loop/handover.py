"""With gitops: bringing the committed state to the repository, and what comes back from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from trimtab.decisions import approval
from trimtab.decisions.observed import AnswerSeen, DeliverySeen
from trimtab.decisions.state import LoopState, Proposal, RoutesWanted, routes_of, versions_of
from trimtab.errors import DeliveryConflict, TrimtabError
from trimtab.ports.delivery import Asked, Delivered, Delivery, Served, Wanted, Why
from trimtab.ports.registry import RegisteredVersion
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop

_MOST_DECISIONS = 50  # in the text of one commit


class Handover:
    """Brings one loop's state to its repository; may be repeated, for the state is the truth."""

    def __init__(self, document: ModelLoop, delivery: Delivery, registered: Callable[[str], RegisteredVersion]) -> None:
        self._document, self._delivery, self._registered = document, delivery, registered
        self._pending: list[Mapping[str, Any]] = []  # decisions that no commit tells of yet
        self._taken = 0  # the newest turn whose decisions are in `_pending`
        self._withdrawn = ""  # what was surely taken back

    def bring(self, state: LoopState, turn: Turn | None) -> DeliverySeen:
        """Deliver the state of `turn`, ask what it asks, take back what it took back. Never raises a TrimtabError."""
        before = (turn.observed.get("delivery") or {}) if turn is not None else {}
        known, number = str(before.get("known") or ""), turn.number if turn is not None else 0
        if turn is not None and number > self._taken:
            self._pending = [*self._pending, *turn.decisions][-_MOST_DECISIONS:]
            self._taken = number
        why, answer = Why(number, tuple(self._pending)), None
        try:
            if state.withdrawn is not None and state.withdrawn.key != self._withdrawn:
                self._delivery.withdraw(state.withdrawn.key, self._sentence(why))
                self._withdrawn = state.withdrawn.key
            found = self._deliver(state, known, why)
            if state.champion is not None:
                known, self._pending = found.known, []
            if state.proposal is not None:
                answer = self._ask(state.proposal, why)
        except DeliveryConflict as error:
            return DeliverySeen(known, str(error), conflict=True)
        except TrimtabError as error:
            return DeliverySeen(known, str(error))
        if state.champion is None and found.champion:
            return self._adoptable(found, known, answer)
        return DeliverySeen(known, answer=answer)

    def _deliver(self, state: LoopState, known: str, why: Why) -> Delivered:
        policy = self._document.spec.release
        warm = None
        if state.previous in versions_of(state, policy.strategy == "blue-green"):
            warm = state.previous
        asked = self._if_accepted(state.proposal) if state.proposal else None
        withdrawn = self._if_accepted(state.withdrawn) if state.withdrawn else None
        return self._delivery.deliver(self._wanted(routes_of(state), warm), known, why, asked, withdrawn)

    def _ask(self, proposal: Proposal, why: Why) -> AnswerSeen:
        wanted = self._if_accepted(proposal)
        if wanted is None:
            raise TrimtabError(f"version {proposal.version} is asked for, but nothing would serve")
        answer = self._delivery.ask(Asked(proposal.key, wanted, why, proposal.opened))
        return AnswerSeen(proposal.key, answer.state, answer.url, answer.who)

    def _if_accepted(self, proposal: Proposal) -> Wanted | None:
        routes, previous = approval.if_accepted(self._document.spec.release, proposal)
        return self._wanted(routes, previous)

    def _wanted(self, routes: RoutesWanted, previous: str | None) -> Wanted | None:
        if routes.stable is None:
            return None
        challenger = self._served(routes.candidate) if routes.candidate else None
        warm = self._served(previous) if previous and previous not in (routes.stable, routes.candidate) else None
        champion = self._served(routes.stable)
        return Wanted(champion, challenger, routes.candidate_percent, routes.mirror_percent, warm)

    def _served(self, version: str) -> Served:
        found = self._registered(version)
        return Served(version, found.digest, found.bundle, found.uri)

    def _adoptable(self, found: Delivered, known: str, answer: AnswerSeen | None) -> DeliverySeen:
        """What the repository serves, if the registry vouches for the same bytes."""
        seen = DeliverySeen(known, answer=answer)
        try:
            digest = self._registered(found.champion).digest
        except TrimtabError as error:
            return replace(
                seen,
                trouble=f"the repository serves version {found.champion}, which the registry does not know: {error}. "
                "Point this loop to the registry that has it",
            )
        if digest != found.digest:
            said = (
                f"the repository serves version {found.champion} with digest {found.digest}, but the registry's is "
                f"{digest}: they are different models. Point this loop to the registry that has it"
            )
            return replace(seen, trouble=said, conflict=True)
        return replace(seen, known=found.known, champion=found.champion)

    @staticmethod
    def _sentence(why: Why) -> str:
        return str(why.decisions[-1].get("sentence", "")) if why.decisions else ""
