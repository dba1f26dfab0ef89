"""What every Router must do; subclass it and give a `world` fixture: a router with servers behind it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from trimtab.ports.router import NOBODY, Router, Routes, Target


class World(Protocol):
    """A router, a way to send it predictions, and servers that can fail."""

    router: Router

    def server(self, version: str) -> Target:
        """Start a server of this version."""
        ...

    def fail(self, version: str) -> None:
        """Let the version answer nothing any more."""
        ...

    def send(self, request_id: str, track: str = "") -> str | None:
        """One prediction; the version that answered, or None if none did."""
        ...


def _split(world: World, count: int, prefix: str, track: str = "") -> Counter[str | None]:
    return Counter(world.send(f"{prefix}-{number}", track) for number in range(count))


class RouterSuite:
    """Shares, copies, fallback and counts; `world` is a `World`."""

    def test_without_a_stable_version_nobody_answers(self, world: Any) -> None:
        world.router.apply(Routes())
        assert world.send("a") is None
        world.router.apply(Routes(None, world.server("1"), 0, 100))
        assert world.send("b") is None
        nobody = world.router.traffic()[NOBODY]
        assert (nobody.requests, nobody.failures) == (2, 2)

    def test_the_stable_version_answers_everything(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1")))
        assert world.router.address
        assert _split(world, 30, "s") == {"1": 30}

    def test_shares_are_those_asked_for(self, world: Any) -> None:
        stable, candidate = world.server("1"), world.server("2")
        for percent in (0, 20, 50, 100):
            world.router.apply(Routes(stable, candidate, percent))
            found = _split(world, 300, f"share{percent}")["2"]
            # Five standard deviations of a binomial: one false alarm in a million.
            spread = 5 * (300 * percent / 100 * (1 - percent / 100)) ** 0.5
            assert abs(found - 3 * percent) <= spread
        assert sum(count.requests for count in world.router.traffic().values()) == 1200

    def test_one_id_is_always_answered_by_the_same_version(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1"), world.server("2"), 50))
        assert all(len({world.send(f"same-{number}") for _ in range(3)}) == 1 for number in range(20))

    def test_the_track_header_reaches_a_candidate_without_a_share(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1"), world.server("2"), 0))
        assert _split(world, 10, "t", "candidate") == {"2": 10}
        assert _split(world, 10, "u") == {"1": 10}

    def test_copies_are_counted_and_change_no_answer(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1"), world.server("2"), 0, 100))
        assert _split(world, 40, "m") == {"1": 40}
        found = world.router.traffic()
        assert (found["1"].requests, found["1"].mirrored) == (40, 0)
        assert (found["2"].requests, found["2"].mirrored, found["2"].mirror_failures) == (0, 40, 0)

    def test_a_failing_candidate_costs_no_answer_and_its_failures_are_counted(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1"), world.server("2"), 50))
        world.fail("2")
        assert _split(world, 60, "f") == {"1": 60}
        found = world.router.traffic()
        assert found["2"].failures == found["2"].requests > 0
        assert found["1"].failures == 0
        assert found["1"].requests + found["2"].requests == 60

    def test_a_failing_stable_version_is_covered_by_a_candidate_with_a_share(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1"), world.server("2"), 10))
        world.fail("1")
        assert _split(world, 40, "g") == {"2": 40}
        assert world.router.traffic()["1"].failures == world.router.traffic()["1"].requests

    def test_a_candidate_without_a_share_never_covers_the_stable_version(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1"), world.server("2"), 0, 100))
        world.fail("1")
        assert _split(world, 5, "h") == {None: 5}
        assert world.router.traffic()["1"].failures == 5

    def test_promotion_and_the_way_back_move_every_request(self, world: Any) -> None:
        old, new = world.server("1"), world.server("2")
        world.router.apply(Routes(old, new, 50))
        world.router.apply(Routes(new))
        assert _split(world, 20, "n") == {"2": 20}
        world.router.apply(Routes(old))
        assert _split(world, 20, "o") == {"1": 20}

    def test_the_same_routes_again_keep_the_counts(self, world: Any) -> None:
        routes = Routes(world.server("1"))
        world.router.apply(routes)
        _split(world, 5, "p")
        world.router.apply(routes)
        _split(world, 5, "q")
        found = world.router.traffic()["1"]
        assert (found.requests, found.failures) == (10, 0)
        assert found.epoch

    def test_a_closed_router_has_no_address_and_closes_again(self, world: Any) -> None:
        world.router.apply(Routes(world.server("1")))
        world.router.close()
        world.router.close()
        assert world.router.address == ""
