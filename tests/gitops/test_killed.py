"""A controller that lives by gitops is killed at any call; the next one makes the same commits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from life import DAY, PROMOTED, T0, Product

from trimtab.testing.git_places import Place


class Died(BaseException):
    """The controller was killed."""


def _deadly(at: int, after: bool, count: list[int]) -> Callable[[Any], Any]:
    """Wraps ports: the call number `at` dies, before its effect or after."""

    def wrap(port: Any) -> Any:
        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                value = getattr(port, name)

                def call(*arguments: Any, **named: Any) -> Any:
                    count[0] += 1
                    mine = count[0] == at
                    if mine and not after:
                        raise Died
                    found = value(*arguments, **named)
                    if mine:
                        raise Died
                    return found

                return call if callable(value) else value

        return Wrapped()

    return wrap


def _life(product: Product, at: int, after: bool) -> int:
    """Twenty days; after the death a new controller goes on. Returns the calls made."""
    count = [0]
    loop = product.loop(_deadly(at, after, count))
    for _ in range(20):
        try:
            product.live_a_day(loop)
        except Died:
            loop = product.loop(_deadly(0, after, count))
            loop.settle(T0 + product.day * DAY + timedelta(hours=23), lambda _: None)
            product.live_a_day(loop)
    return count[0]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_a_controller_killed_at_any_call_changes_no_commit(tmp_path: Path, after: bool) -> None:
    def life(name: str, at: int) -> tuple[list[str], list[str], int]:
        product = Product(Place(tmp_path / name), tmp_path / f"{name}-cache")
        calls = _life(product, at, after)
        return [one for one in product.place.log() if one.startswith("orders:")], product.kinds(), calls

    commits, kinds, calls = life("whole", 0)
    assert kinds == PROMOTED
    for at in range(1, calls, 53 if after else 59):
        assert life(f"killed-{at}", at)[:2] == (commits, kinds), at
