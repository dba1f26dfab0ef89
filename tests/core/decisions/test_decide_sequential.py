"""Looking as often as one likes must not change how often one is wrong: seeded simulations, and known bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from decision_cases import HOUR, T0, comparison, seen, shadowing, spec
from hypothesis import given
from hypothesis import strategies as st

from trimtab.decisions import sequential
from trimtab.decisions.observed import Differences, Paired, Sample
from trimtab.decisions.release import advance
from trimtab.decisions.state import Count

ALPHA = 0.05
RUNS, ROWS = 800, 3000
RELEASES = 40
LOOKS = np.arange(10, ROWS + 1, 10)


def wrong_share(crossed: np.ndarray) -> float:
    """Share of runs, shape (runs, looks), that were ever wrong."""
    return float(crossed.any(axis=1).mean())


def test_a_candidate_just_as_bad_as_allowed_is_rarely_called_worse_at_any_of_300_looks():
    random = np.random.default_rng(1)
    rows = random.choice([1, 0, -1], p=[0.05, 0.88, 0.07], size=(RUNS, ROWS))  # mean -0.02: the margin itself
    better, worse = (np.cumsum(rows == side, axis=1)[:, LOOKS - 1] for side in (1, -1))
    evidence = sequential.paired_evidence(worse, better, LOOKS[None, :], 0.02)
    assert wrong_share(evidence >= -math.log(ALPHA)) <= ALPHA
    difference = (better - worse) / LOOKS
    error = np.sqrt(((better + worse) / LOOKS - difference**2).clip(1e-9) / LOOKS)
    naive = ((difference + 0.02) / error < -1.645)[:, 4:]
    assert wrong_share(naive) > 4 * ALPHA  # what a fixed-sample test does when it is looked at as often


def test_an_allowed_error_rate_is_rarely_called_too_high_though_every_third_request_is_looked_at():
    random = np.random.default_rng(2)
    failures = np.cumsum(random.random((RUNS, ROWS)) < 0.01, axis=1)[:, ::3]
    evidence = sequential.share_evidence(failures, np.arange(1, ROWS + 1, 3)[None, :], 0.01)
    assert wrong_share((evidence >= -math.log(ALPHA)) & (failures >= 3)) <= ALPHA


@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_a_mean_is_rarely_outside_its_bounds_at_any_look(kind):
    random = np.random.default_rng(3)
    rows = random.normal(size=(RUNS, ROWS)) if kind == "normal" else 1 - random.exponential(size=(RUNS, ROWS))
    total, squares = (np.cumsum(values, axis=1)[:, LOOKS - 1] for values in (rows, rows**2))
    crossed = np.zeros((RUNS, len(LOOKS)), dtype=bool)
    for index, n in enumerate(LOOKS):
        mean = total[:, index] / n
        radius = sequential.mean_bounds(0.0, 1.0, float(n), ALPHA)[1]
        deviation = np.sqrt((squares[:, index] / n - mean**2).clip(0) * n / max(1, n - 1))
        crossed[:, index] = mean + radius * deviation < 0 if math.isfinite(radius) else False
    assert wrong_share(crossed) <= ALPHA * (1.0 if kind == "normal" else 1.5)  # asymptotic: skew costs a little


def release_in_a_world(random: np.random.Generator, better: float, worse: float) -> str:
    """Labels come 20 at a time, each followed by three looks, until the release ends."""
    policy = spec(release={"steps": [10, 50], "stepLeast": "5h"}).release
    release, now, pairs = shadowing(), T0, [0, 0, 0]
    for _ in range(120):
        pairs = [
            have + new
            for have, new in zip(pairs, random.multinomial(20, [1 - better - worse, worse, better]), strict=True)
        ]
        for _ in range(3):
            now += HOUR
            count = Count(release.counted["2"].requests + 1000, 0, "e")
            move = advance(
                policy, release, seen(now, comparison=comparison(Paired(sum(pairs), *pairs)), traffic={"2": count})
            )
            if move.release is None:
                return move.action
            release = move.release
    return "hold"


@pytest.mark.parametrize(
    ("better", "worse", "action", "least", "wrong", "most"),
    [
        (0.06, 0.06, "promote", 0.85, "roll-back", 0.05),  # as good
        (0.12, 0.04, "promote", 0.97, "roll-back", 0.01),  # eight points better
        (0.04, 0.16, "roll-back", 0.95, "promote", 0.04),  # twelve points worse
        (0.04, 0.10, "roll-back", 0.50, "promote", 0.25),  # six points worse
    ],
)
def test_whole_releases_end_rightly(better, worse, action, least, wrong, most):
    random = np.random.default_rng(4)
    ends = [release_in_a_world(random, better, worse) for _ in range(RELEASES)]
    assert ends.count(action) / RELEASES >= least, {end: ends.count(end) for end in set(ends)}
    assert ends.count(wrong) / RELEASES <= most, {end: ends.count(end) for end in set(ends)}


def test_a_thousand_more_looks_at_the_same_counts_change_nothing():
    policy, release = spec().release, shadowing()
    doubtful = comparison(Paired(300, 240, 30, 12))
    for hours in range(1, 200):
        move = advance(policy, release, seen(T0 + hours * HOUR, comparison=doubtful))
        assert move.action == "hold"
        release = move.release


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_paired_bounds_hold_the_best_guess_and_mirror_when_sides_are_swapped(same, better, worse):
    n = same + better + worse
    low, high = sequential.paired_bounds(Paired(n, same, worse, better), 0.05)
    assert -1 <= low <= (better - worse) / max(n, 1) <= high <= 1
    swapped = sequential.paired_bounds(Paired(n, same, better, worse), 0.05)
    assert swapped == pytest.approx((-high, -low))


@given(st.integers(1, 2000), st.data())
def test_share_bounds_agree_with_the_test_they_come_from(n, data):
    successes = data.draw(st.integers(0, n))
    low, high = sequential.share_low(successes, n, 0.05), sequential.share_high(successes, n, 0.05)
    assert 0 <= low <= successes / n <= high <= 1
    if low > 1e-5:
        assert sequential.surely_above(successes, n, low - 1e-5, 0.05)
        assert not sequential.surely_above(successes, n, low + 1e-5, 0.05)


def test_more_evidence_narrows_and_more_surety_widens():
    widths = [
        np.diff(sequential.paired_bounds(Paired(n, 0, n // 10, n // 10), 0.05))[0] for n in (50, 200, 1000, 10_000)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.03
    assert sequential.share_low(30, 100, 0.001) < sequential.share_low(30, 100, 0.05)


@pytest.mark.parametrize(
    ("failures", "requests", "sure"),
    [
        (0, 1000, False),
        (1, 3, False),
        (2, 60, False),
        (3, 100, False),
        (5, 300, False),
        (8, 100, True),
        (20, 500, True),
    ],
)
def test_failures_against_one_percent(failures, requests, sure):
    assert sequential.surely_above(failures, requests, 0.01, ALPHA) is sure


def test_edges():
    assert sequential.paired_bounds(Paired(), 0.05) == (-1, 1)
    assert sequential.split_bounds(Sample(), Sample(5, 5, 5), 0.05, shares=True) == (-math.inf, math.inf)
    assert sequential.differences_bounds(Differences(29, 5, 0), 0.05) == (-math.inf, math.inf)
    assert sequential.surely_above(1, 10**6, 0.0, 0.05)
    assert not sequential.surely_above(5, 5, 1.0, 0.05)
    low, high = sequential.split_bounds(Sample(400, 40, 40), Sample(400, 360, 360), 0.05, shares=True)
    assert 0.6 < low < 0.8 < high < 0.95
