"""Counting from raw samples: a table of histories and what was counted in them."""

from __future__ import annotations

import pytest

from trimtab.adapters.router.tally import Series, Tally

SINCE = 1000.0


def series(*points: tuple[float, float], **labels: str) -> Series:
    return Series({"__name__": "n", **labels}, points)


def counted(tally: Tally) -> int:
    return sum(count for _, count in tally.counts(0))


@pytest.mark.parametrize(
    ("points", "wanted"),
    [
        ([(990, 7), (1010, 7)], 0),  # nothing new
        ([(990, 7), (1010, 9), (1020, 12)], 5),
        ([(1010, 3), (1020, 3)], 3),  # born since: its first value counts, which increase() would not see
        ([(1000, 3), (1010, 4)], 1),
        ([(990, 50), (1010, 55), (1020, 2), (1030, 4)], 9),  # started again: 5 + 2 + 2
        ([(980, 50), (990, 2), (1010, 3)], 1),  # started again before
        ([(990, 7), (1010, 9), (1400, 20), (1410, 21)], 1),  # a hole: counted from behind it
    ],
)
def test_counts(points: list[tuple[float, float]], wanted: int) -> None:
    tally = Tally(SINCE, hole_seconds=300)
    tally.add(0, [series(*points)])
    assert counted(tally) == wanted


def test_looking_often_counts_as_looking_once() -> None:
    points = [(990.0 + 10 * number, float(value)) for number, value in enumerate((5, 6, 9, 1, 1, 4, 0, 3))]
    whole = Tally(SINCE)
    whole.add(0, [series(*points)])
    piecemeal = Tally(SINCE)
    for end in range(1, len(points) + 1):
        piecemeal.add(0, [series(*points[max(0, end - 3) : end])])
    assert counted(piecemeal) == counted(whole) == 3 + 1 + 0 + 3 + 0 + 3


def test_a_hole_starts_the_count_again_for_all_and_changes_the_epoch() -> None:
    tally = Tally(SINCE, hole_seconds=300)
    tally.add(0, [series((990, 1), (1010, 5), pod="a")])
    assert (counted(tally), tally.epoch) == (4, SINCE)
    tally.add(0, [series((1010, 5), (1500, 8), (1510, 9), pod="a"), series((1510, 2), pod="b")])
    assert (counted(tally), tally.epoch) == (3, 1500)


def test_no_traffic_at_all_is_no_hole() -> None:
    tally = Tally(SINCE, hole_seconds=300)
    tally.add(0, [])
    tally.add(0, [series((5000, 3), (5010, 4))])
    assert (counted(tally), tally.epoch) == (4, SINCE)


def test_two_scrapers_of_one_pod_count_once() -> None:
    tally = Tally(SINCE)
    told = [(990.0, 0.0), (1010.0, 6.0)]
    tally.add(0, [series(*told, pod="a", job="x", instance="1"), series(*told, pod="a", job="y", instance="2")])
    tally.add(0, [series(*told, pod="b", job="x", instance="3")])
    assert counted(tally) == 12
