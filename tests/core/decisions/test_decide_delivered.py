"""What pull requests and the repository's troubles do to a release: a table of moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from decision_cases import CAUSE, DAY, HOUR, SERVING, T0, TEN_POINTS_WORSE, comparison, seen, shadowing, spec

from trimtab.decisions.observed import AnswerSeen, DeliverySeen, Observed, ServerSeen, WishSeen
from trimtab.decisions.outcome import Outcome
from trimtab.decisions.state import LoopState, Proposal
from trimtab.decisions.turn import decide

GITOPS = {"delivery": "gitops", "gitops": {"repository": "https://git.example/r"}}
SPEC = spec(release={**GITOPS, "steps": [50]})
START = Proposal("start-2-1", "start", "2", "1", CAUSE, T0)
PROMOTE = Proposal("promote-2-1", "promote", "2", "1", CAUSE, T0)
CANARY = shadowing(phase="canary", candidate_percent=50, mirror_percent=0)
LATER = T0 + 2 * HOUR


def _answered(state: str, proposal: Proposal = START, **more: Any) -> DeliverySeen:
    return DeliverySeen("sha256:k", answer=AnswerSeen(proposal.key, state, "https://pr/1", "ada"), **more)  # type: ignore[arg-type]


def _kinds(outcome: Outcome) -> list[str]:
    return [one.kind for one in outcome.decisions if one.kind not in ("wait",)]


def _decide(state: LoopState, observed: Observed) -> Outcome:
    return decide(SPEC, replace(state, handled=(), last_training=LATER), observed)


@pytest.mark.parametrize(("answer", "kinds"), [("open", []), ("merged", ["start"]), ("closed", ["reject"])])
def test_the_start_of_a_release_is_people_s(answer: str, kinds: list[str]) -> None:
    asked = replace(SERVING, proposal=START)
    outcome = _decide(asked, Observed(LATER, delivery=_answered(answer)))
    assert _kinds(outcome) == kinds
    assert (outcome.state.release is not None) == (answer == "merged")
    assert (outcome.state.proposal is not None) == (answer == "open")
    assert (outcome.state.rejected != ()) == (answer == "closed")


@pytest.mark.parametrize(("answer", "kinds"), [("open", []), ("merged", ["promote"]), ("closed", ["roll-back"])])
def test_the_promotion_is_people_s(answer: str, kinds: list[str]) -> None:
    asked = replace(SERVING, release=CANARY, proposal=PROMOTE)
    outcome = _decide(asked, seen(LATER, delivery=_answered(answer, PROMOTE)))
    assert _kinds(outcome) == kinds
    assert outcome.state.champion == ("2" if answer == "merged" else "1")
    if answer == "open":
        assert outcome.hold == "Version 2 is promoted when its pull request is merged (https://pr/1)."


def test_evidence_enough_asks_once_and_a_step_asks_nobody() -> None:
    stepped = _decide(replace(SERVING, release=shadowing()), seen(LATER, delivery=DeliverySeen("k")))
    assert _kinds(stepped) == ["step"]
    asked = _decide(replace(SERVING, release=CANARY), seen(LATER, delivery=DeliverySeen("k")))
    assert _kinds(asked) == ["propose"]
    assert asked.state.proposal is not None
    assert asked.state.champion == "1"
    again = _decide(asked.state, seen(LATER + HOUR, delivery=_answered("open", asked.state.proposal)))
    assert _kinds(again) == []


@pytest.mark.parametrize("failure", ["server", "quality"])
def test_a_candidate_that_turns_bad_while_people_are_asked_is_rolled_back(failure: str) -> None:
    asked = replace(SERVING, release=CANARY, proposal=PROMOTE)
    more: dict[str, Any] = {"comparison": comparison(TEN_POINTS_WORSE)}
    if failure == "server":
        more = {"servers": {"1": ServerSeen("ready"), "2": ServerSeen("failed")}}
    outcome = _decide(asked, seen(LATER, delivery=_answered("open", PROMOTE), **more))
    assert _kinds(outcome) == ["roll-back"]
    assert (outcome.state.proposal, outcome.state.withdrawn) == (None, replace(PROMOTE, opened=True))


def test_an_answer_to_something_else_is_none() -> None:
    asked = replace(SERVING, proposal=START)
    assert _kinds(_decide(asked, Observed(LATER, delivery=_answered("merged", PROMOTE)))) == []


def test_trouble_holds_what_would_move_on_and_is_told_once_each_way() -> None:
    state = replace(SERVING, release=shadowing())
    trouble = DeliverySeen("k", trouble="away", conflict=False)
    first = _decide(state, seen(LATER, delivery=trouble))
    assert _kinds(first) == ["undelivered"]
    assert "nothing moves on while the repository does not follow: away" in first.hold
    other_words = _decide(first.state, seen(LATER + HOUR, delivery=replace(trouble, trouble="still away")))
    assert _kinds(other_words) == []
    conflict = _decide(first.state, seen(LATER + HOUR, delivery=replace(trouble, trouble="ada", conflict=True)))
    assert _kinds(conflict) == ["undelivered"]
    over = _decide(conflict.state, seen(LATER + 2 * HOUR, delivery=DeliverySeen("k")))
    assert _kinds(over) == ["delivered", "step"]


def test_trouble_stops_no_roll_back() -> None:
    state = replace(SERVING, release=CANARY)
    lost = {"1": ServerSeen("ready"), "2": ServerSeen("failed")}
    outcome = _decide(state, seen(LATER, delivery=DeliverySeen("k", trouble="away"), servers=lost))
    assert _kinds(outcome) == ["undelivered", "roll-back"]


def test_nobody_answering_is_said_once_and_frees_training() -> None:
    state, late = replace(SERVING, proposal=START), T0 + 31 * DAY
    outcome = _decide(state, Observed(late, delivery=_answered("open")))
    assert _kinds(outcome) == ["hold"]
    assert outcome.state.proposal is not None
    assert outcome.state.proposal.overdue
    again = _decide(outcome.state, Observed(late + timedelta(hours=1), delivery=_answered("open")))
    assert "hold" not in _kinds(again)


def test_wishes_ask_people_too_but_a_way_back_asks_nobody() -> None:
    promote, back = WishSeen(1, "promote", "", "bob"), WishSeen(2, "rollback", "", "bob")
    observed = seen(LATER, delivery=DeliverySeen("k"), wishes=(promote,))
    asked = _decide(replace(SERVING, release=shadowing()), observed)
    assert _kinds(asked) == ["propose"]
    assert "bob asked" in asked.decisions[0].sentence
    twice = _decide(asked.state, replace(observed, now=LATER + HOUR))
    assert _kinds(twice) == ["refuse"]
    gone = _decide(asked.state, replace(observed, now=LATER + HOUR, wishes=(back,)))
    assert _kinds(gone) == ["roll-back"]
    assert gone.state.proposal is None
    refused = _decide(replace(SERVING, proposal=START), Observed(LATER, delivery=_answered("open"), wishes=(back,)))
    assert _kinds(refused) == ["reject"]


def test_a_champion_that_is_lost_goes_back_and_what_was_asked_is_asked_anew() -> None:
    state = replace(SERVING, champion="3", previous="1", proposal=replace(START, stable="3"))
    lost = {"3": ServerSeen("failed"), "1": ServerSeen("ready")}
    outcome = _decide(state, Observed(LATER, delivery=_answered("open"), servers=lost))
    assert _kinds(outcome) == ["roll-back", "propose"]
    assert outcome.state.proposal is not None
    assert (outcome.state.proposal.stable, outcome.state.withdrawn) == ("1", replace(START, stable="3", opened=True))


def test_a_loop_without_a_memory_adopts_what_the_repository_serves() -> None:
    outcome = decide(SPEC, LoopState(), Observed(LATER, delivery=DeliverySeen("k", champion="7")))
    assert _kinds(outcome) == ["adopt"]
    assert outcome.state.champion == "7"


def test_states_are_read_back_with_all_that_is_new() -> None:
    state = replace(SERVING, proposal=START, withdrawn=PROMOTE, undelivered="unreachable", proposals=3)
    assert LoopState.from_json(state.to_json()) == state
    old = {name: value for name, value in state.to_json().items() if name not in ("proposal", "withdrawn", "proposals")}
    assert LoopState.from_json(old).proposal is None
    observed = Observed(LATER, delivery=_answered("open"))
    assert Observed.from_json(observed.to_json()) == observed
