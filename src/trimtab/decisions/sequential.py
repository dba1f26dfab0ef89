"""Bounds that hold at every look at once, so that looking every few seconds costs nothing.

All are confidence sequences: P(the truth is ever outside) <= alpha, whenever one stops (Ville 1939; Robbins 1970,
"Statistical methods related to the law of the iterated logarithm"; Howard, Ramdas, McAuliffe, Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences"; Johari, Koomen, Pekelis, Walsh 2022, "Always valid
inference"). They are functions of counts, so the order in which rows or their labels came does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from trimtab.decisions.observed import Differences, Paired, Sample

LEAST_FOR_NORMAL = 30  # below this a mean of unbounded differences is not judged at all
_STAKES = np.geomspace(0.01, 0.98, 14)  # shares of the greatest bet, mixed with equal weight
_GRID, _REFINEMENTS = 33, 4  # to a millionth

Numbers = float | NDArray[np.float64]
Counts = int | NDArray[np.int64]


def share_low(successes: int, n: int, alpha: float) -> float:
    """Lower bound of a share, 0..1, one-sided at `alpha`: Robbins' beta mixture over all greater shares.

    Against a share p0 the likelihood ratio is averaged over Beta(1, 1) cut to (p0, 1); the bound is the least p0 whose
    average stays under 1 / alpha.
    """
    if successes == 0:
        return 0.0
    return _least(lambda shares: share_evidence(successes, n, shares) < -math.log(alpha), 0.0, successes / n)


def share_high(successes: int, n: int, alpha: float) -> float:
    """Upper bound of a share, 0..1, one-sided at `alpha`."""
    return 1.0 - share_low(n - successes, n, alpha)


def surely_above(successes: int, n: int, share: float, alpha: float) -> bool:
    """Whether the true share is surely above `share`, at whatever look; a share of 0 is exceeded by one success."""
    if successes == 0 or share >= 1:
        return False
    return share <= 0 or bool(share_evidence(successes, n, share) >= -math.log(alpha))


def share_evidence(successes: Counts, n: Counts, share: Numbers) -> NDArray[np.float64]:
    """Log of the mixture likelihood ratio against "the share is at most `share`"; arrays broadcast."""
    share = np.clip(share, 1e-12, 1 - 1e-12)
    a, b = np.asarray(successes) + 1, np.asarray(n) - successes + 1
    with np.errstate(divide="ignore"):
        mixed = special.betaln(a, b) + np.log(special.betaincc(a, b, share)) - np.log1p(-share)
    return np.asarray(mixed - (a - 1) * np.log(share) - (b - 1) * np.log1p(-share))


def paired_bounds(paired: Paired, alpha: float) -> tuple[float, float]:
    """Bounds of (candidate's share right - stable's share right), each one-sided at `alpha`, from rows both answered.

    Row by row the difference is -1, 0 or 1. A bettor stakes a fixed share on "the mean is above m"; the average wealth
    over several stakes is a martingale if the mean is m, and m is out once it reached 1 / alpha (Waudby-Smith, Ramdas
    2024, "Estimating means of bounded random variables by betting", with stakes fixed beforehand).
    """
    if paired.n == 0:
        return -1.0, 1.0
    better, worse = paired.only_candidate_right, paired.only_stable_right
    return _paired_low(better, worse, paired.n, alpha), -_paired_low(worse, better, paired.n, alpha)


def _paired_low(better: int, worse: int, n: int, alpha: float) -> float:
    def inside(means: Numbers) -> NDArray[np.bool_]:
        return paired_evidence(better, worse, n, means) < -math.log(alpha)

    return -1.0 if worse == n else _least(inside, -1 + 1e-9, (better - worse) / n)


def paired_evidence(better: Counts, worse: Counts, n: Counts, mean: Numbers) -> NDArray[np.float64]:
    """Log of the bettor's wealth against "the mean is at most `mean`" (above -1); arrays broadcast."""
    better, worse, n, mean = (np.asarray(value, dtype=float)[..., None] for value in (better, worse, n, mean))
    stakes = _STAKES / (1 + mean)
    wealth = better * np.log1p(stakes * (1 - mean)) + (n - better - worse) * np.log1p(-stakes * mean)
    wealth = wealth + worse * np.log1p(-_STAKES)
    return np.asarray(special.logsumexp(wealth, axis=-1) - math.log(len(_STAKES)))


def mean_bounds(mean: float, sd: float, n: float, alpha: float, plan: float = 200.0) -> tuple[float, float]:
    """Bounds of a mean of n values with deviation `sd`, each one-sided at `alpha`; asymptotic.

    Robbins' normal mixture with the estimated deviation (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2024,
    "Time-uniform central limit theory and asymptotic confidence sequences", the one-sided case), tightest near
    n = `plan`.
    """
    if n < LEAST_FOR_NORMAL:
        return -math.inf, math.inf
    sureness = -2 * math.log(min(2 * alpha, 0.9))
    scaled = n * (sureness + math.log1p(sureness)) / plan
    radius = sd * math.sqrt(2 * (scaled + 1) / (n * scaled) * math.log(1 + math.sqrt(scaled + 1) / (2 * alpha)))
    return mean - radius, mean + radius


def differences_bounds(differences: Differences, alpha: float) -> tuple[float, float]:
    """Bounds of the mean difference, each one-sided at `alpha`, from rows both answered."""
    return mean_bounds(differences.mean, differences.sd, differences.n, alpha)


def split_bounds(stable: Sample, candidate: Sample, alpha: float, shares: bool) -> tuple[float, float]:
    """Bounds of (candidate's mean - stable's mean), each one-sided at `alpha`, from rows of different people.

    With `shares` the values are 0 or 1 and each side is bounded exactly at alpha / 2; else asymptotically.
    """
    if min(stable.n, candidate.n) == 0:
        return -math.inf, math.inf
    sides = []
    for side in (stable, candidate):
        if shares:
            right = round(side.total)
            sides.append((share_low(right, side.n, alpha / 2), share_high(right, side.n, alpha / 2)))
        else:
            sides.append(mean_bounds(side.mean, math.sqrt(side.variance), side.n, alpha / 2))
    return sides[1][0] - sides[0][1], sides[1][1] - sides[0][0]


def _least(inside: Callable[[Numbers], NDArray[np.bool_]], low: float, high: float) -> float:
    """The edge between outside (from `low`) and inside (to `high`) on finer and finer grids; errs to the wider side."""
    for _ in range(_REFINEMENTS):
        grid = np.linspace(low, high, _GRID)
        first = int(np.argmax(np.append(inside(grid[:-1]), True)))
        if first == 0:
            return low
        low, high = float(grid[first - 1]), float(grid[first])
    return low
