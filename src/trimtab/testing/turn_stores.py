"""What every TurnStore with its WishStore must do; subclass it and give a `store` fixture."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trimtab.errors import TurnTaken
from trimtab.ports.turns import Turn

_NOON = datetime(2001, 2, 3, 12, tzinfo=UTC)


def _turn(number: int, *decisions: dict[str, Any]) -> Turn:
    return Turn(number, _NOON.replace(minute=number), {"champion": str(number)}, {"n": number}, decisions)


class TurnStoreSuite:
    """Turns in order, each number once; wishes until they are answered."""

    def test_a_new_loop_has_no_turn(self, store: Any) -> None:
        assert store.latest() is None
        assert list(store.newest_decisions(10)) == []

    def test_turns_come_back_as_they_were_committed(self, store: Any) -> None:
        turn = _turn(1, {"kind": "promote", "sentence": 'it\'s "better"\n', "evidence": {"n": 3, "share": 0.25}})
        store.commit(turn)
        found = store.latest()
        assert (found.number, found.time, found.state, found.observed) == (1, turn.time, {"champion": "1"}, {"n": 1})
        assert list(found.decisions) == list(turn.decisions)

    def test_a_number_is_committed_once_and_the_first_one_stays(self, store: Any) -> None:
        store.commit(_turn(1))
        with pytest.raises(TurnTaken):
            store.commit(Turn(1, _NOON, {"champion": "other"}))
        assert store.latest().state == {"champion": "1"}

    def test_decisions_come_newest_first_and_no_more_than_asked_for(self, store: Any) -> None:
        store.commit(_turn(1, {"kind": "retrain"}))
        store.commit(_turn(2))
        store.commit(_turn(3, {"kind": "reject"}, {"kind": "alarm"}))
        assert [one["kind"] for one in store.newest_decisions(10)] == ["alarm", "reject", "retrain"]
        assert [one["kind"] for one in store.newest_decisions(2)] == ["alarm", "reject"]

    def test_a_wish_is_open_until_a_turn_answers_it(self, store: Any) -> None:
        first = store.wish(_NOON, "retrain", {"why": "new traps"})
        second = store.wish(_NOON, "rollback", {})
        assert [(wish.number, wish.kind) for wish in store.open_wishes()] == [(first, "retrain"), (second, "rollback")]
        assert store.open_wishes()[0].arguments == {"why": "new traps"}
        store.commit(_turn(1), answered_wishes=[first])
        assert [wish.number for wish in store.open_wishes()] == [second]

    def test_a_refused_turn_answers_no_wish(self, store: Any) -> None:
        number = store.wish(_NOON, "retrain", {})
        store.commit(_turn(1))
        with pytest.raises(TurnTaken):
            store.commit(_turn(1), answered_wishes=[number])
        assert [wish.number for wish in store.open_wishes()] == [number]
