"""What routes mean for requests: one table, by which every router is judged, whatever it turns them into.

Subclass `RouteTableSuite` and give a `world`: a `RouteWorld`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest

from trimtab.errors import TrimtabError
from trimtab.ports.router import Router, Routes, Target

Percent = Mapping[str, float]


class RouteWorld(Protocol):
    """A router, its versions, and a way to see what becomes of a prediction."""

    router: Router

    def server(self, version: str) -> Target:
        """A version that is ready."""
        ...

    def fate(self, track: str = "") -> tuple[Percent, Percent]:
        """Percent of predictions that each version answers, and percent that are copied to it; none: nobody."""
        ...


@dataclass(frozen=True)
class Case:
    """Routes between versions 1 and 2 and what they mean. `wants` names what a router may be unable to do."""

    name: str
    routes: Callable[[Target, Target], Routes]
    shares: Percent = field(default_factory=dict)
    copies: Percent = field(default_factory=dict)
    tracked: Percent | None = None  # with the track header; None: as without
    wants: tuple[str, ...] = ()


TABLE = (
    Case("nobody", lambda _one, _two: Routes(), wants=("nobody",)),
    Case("a shadow of nobody", lambda _one, two: Routes(None, two, 0, 100), tracked={"2": 100}, wants=("nobody",)),
    Case("one version", lambda one, _two: Routes(one), {"1": 100}),
    Case("a candidate without a share", Routes, {"1": 100}, tracked={"2": 100}),
    Case("a small share", lambda one, two: Routes(one, two, 5), {"1": 95, "2": 5}, tracked={"2": 100}),
    Case("half", lambda one, two: Routes(one, two, 50), {"1": 50, "2": 50}, tracked={"2": 100}),
    Case("all but one", lambda one, two: Routes(one, two, 99), {"1": 1, "2": 99}, tracked={"2": 100}),
    Case("everything", lambda one, two: Routes(one, two, 100), {"2": 100}, tracked={"2": 100}),
    Case("a shadow", lambda one, two: Routes(one, two, 0, 100), {"1": 100}, {"2": 100}, {"2": 100}, ("copies",)),
    Case(
        "a shadow of a tenth",
        lambda one, two: Routes(one, two, 0, 10),
        {"1": 100},
        {"2": 10},
        {"2": 100},
        ("copies",),
    ),
    Case("promoted", lambda _one, two: Routes(two), {"2": 100}),
)


class RouteTableSuite:
    """Shares, copies and the track header. `cannot` holds what the router states that it cannot do.

    copies: it refuses such routes in a sentence. track: the header changes nothing. nobody: what runs answers.
    """

    cannot: frozenset[str] = frozenset()
    tolerance_percent = 0.0

    @pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
    def test_shares(self, world: Any, case: Case) -> None:
        routes = case.routes(world.server("1"), world.server("2"))
        if "copies" in case.wants and "copies" in self.cannot:
            with pytest.raises(TrimtabError, match="copy"):
                world.router.apply(routes)
            return
        if "nobody" in case.wants and "nobody" in self.cannot:
            return
        world.router.apply(routes)
        shares, copies = world.fate()
        self._same(shares, case.shares)
        self._same(copies, case.copies)
        tracked = case.shares if case.tracked is None or "track" in self.cannot else case.tracked
        shares, copies = world.fate("candidate")
        self._same(shares, tracked)
        if "track" not in self.cannot and case.tracked is not None:
            self._same(copies, {})  # the candidate's own requests are not copied to it

    def test_a_whole_release_and_the_way_back(self, world: Any) -> None:
        one, two = world.server("1"), world.server("2")
        for percent in (0, 5, 25, 50):
            world.router.apply(Routes(one, two, percent))
            self._same(world.fate()[0], {"1": 100 - percent, **({"2": percent} if percent else {})})
        world.router.apply(Routes(one))
        self._same(world.fate()[0], {"1": 100})
        world.router.apply(Routes(one, two, 50))
        world.router.apply(Routes(two))
        self._same(world.fate()[0], {"2": 100})

    def test_the_same_routes_again_change_nothing(self, world: Any) -> None:
        routes = Routes(world.server("1"), world.server("2"), 25)
        world.router.apply(routes)
        before = world.fate()
        world.router.apply(routes)
        assert world.fate() == before

    def _same(self, found: Percent, wanted: Percent) -> None:
        for version in {*found, *wanted}:
            assert abs(found.get(version, 0) - wanted.get(version, 0)) <= self.tolerance_percent, (found, wanted)
