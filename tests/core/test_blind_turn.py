"""Nobody can say how requests went: a release holds and says so, and everything else goes on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from test_turn import DAY, T0, Deadly, Product

from trimtab.adapters.router.memory import MemoryRouter
from trimtab.errors import EvidenceMissing
from trimtab.loop.turn import Loop
from trimtab.ports.router import Traffic


class BlindRouter(MemoryRouter):
    """Its counters can be out of reach."""

    blind = False

    def traffic(self) -> Mapping[str, Traffic]:
        if self.blind:
            raise EvidenceMissing("Prometheus at http://p does not answer: refused")
        return super().traffic()


class Watched(Product):
    def loop(self, deadly: Deadly) -> Loop:
        loop = super().loop(deadly)
        self.router = router = BlindRouter()
        object.__setattr__(loop.world, "router", router)
        object.__setattr__(loop._observer, "_router", router)
        return loop


def _day(product: Watched, loop: Loop, day: int, blind: bool) -> list[dict[str, Any]]:
    """Live through one day; what was decided in it."""
    before = len(product.turns.newest_decisions(1000))
    product.traffic(day)
    assert isinstance(product.router, BlindRouter)
    product.router.blind = blind
    loop.settle(T0 + (day + 1) * DAY, lambda turn: None)
    decisions = product.turns.newest_decisions(1000)
    return [dict(one) for one in reversed(decisions[: len(decisions) - before])]


def _in_release() -> tuple[Watched, Loop, int]:
    """A loop with a release under way, and the next day."""
    product = Watched()
    loop = product.loop(Deadly())
    loop.settle(T0, lambda turn: None)
    for day in range(14):
        _day(product, loop, day, blind=False)
        if loop.state().release is not None:
            return product, loop, day + 1
    raise AssertionError("no release within 14 days")


def test_a_release_holds_while_blind_and_goes_on_after() -> None:
    product, loop, first = _in_release()
    release = loop.state().release
    assert release is not None
    told = [one for day in range(first, first + 8) for one in _day(product, loop, day, blind=True)]
    told = [one for one in told if one["kind"] not in ("alarm", "all-clear", "wait")]
    assert [one["kind"] for one in told] == ["hold"]  # said once, however long it lasts
    assert "nothing moves on blind: Prometheus at http://p does not answer" in told[0]["sentence"]
    held = loop.state().release
    assert held is not None
    assert (held.phase, held.candidate_percent, held.phase_started) == (
        release.phase,
        release.candidate_percent,
        release.phase_started,
    )
    for day in range(first + 8, first + 12):
        _day(product, loop, day, blind=False)
    assert loop.state().champion == "2"


def test_a_person_is_obeyed_while_blind() -> None:
    product, loop, day = _in_release()
    assert isinstance(product.router, BlindRouter)
    product.router.blind = True
    now = T0 + day * DAY + timedelta(hours=1)
    product.turns.wish(now, "rollback", {})
    loop.settle(now, lambda turn: None)
    assert (loop.state().release, loop.state().champion) == (None, "1")
