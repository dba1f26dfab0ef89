"""Distances between a window's distribution of one column and the reference's, and how far apart they are by chance.

Every column is cut into bins fixed by the reference (`bin_numbers`, `bin_categories`), so that a window is only a
vector of counts. The distance is the population stability index (Kullback's symmetric divergence J; Yurdakul,
"Statistical Properties of Population Stability Index", 2018), with the Jensen-Shannon distance (Lin 1991) beside it.

How large a PSI is by chance depends on the number of rows, the number of bins, and on how much the reference itself
moves (seasons, effort). So it is calibrated on *null windows*, taken from the reference and measured against the rest
of it. PSI is close to a scaled chi-squared, whose cube root is close to normal (Wilson & Hilferty 1931); its tail is
therefore read from Student's prediction interval on the cube roots (Hahn & Meeker 1991, section 4.7), which is wide
when the reference has few windows to learn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Codes = NDArray[np.int64]
Counts = NDArray[np.float64]

QUANTILE_BINS = 10
MOST_CATEGORIES = 50
SMOOTHING = 0.5
DRAWS_A_BLOCK = 5


@dataclass(frozen=True)
class Binned:
    """One column as bin numbers 0..bins-1: the last is missing values, `never_seen` (categories) the one before."""

    reference: Codes
    window: Codes
    bins: int
    never_seen: int | None = None


def bin_numbers(reference: NDArray[np.float64], window: NDArray[np.float64]) -> Binned:
    """Bins at the reference's deciles (fewer where values repeat), one below and one above its range, one for missing.

    Arrays are 1-d; NaN is missing, infinities are the outermost bins. A constant or empty reference is no error.
    """
    present = np.sort(reference[~np.isnan(reference)])
    cuts = present[:0]
    if present.size:
        upper = np.unique(present)
        if upper.size > QUANTILE_BINS:
            upper = np.unique(
                np.quantile(present, np.arange(1, QUANTILE_BINS + 1) / QUANTILE_BINS, method="inverted_cdf")
            )
        cuts = np.concatenate([[np.nextafter(present[0], -np.inf)], upper])
    bins = cuts.size + 2

    def codes(values: NDArray[np.float64]) -> Codes:
        found = np.searchsorted(cuts, values, side="left").astype(np.int64)
        found[np.isnan(values)] = bins - 1
        return found

    return Binned(codes(reference), codes(window), bins)


def bin_categories(reference: NDArray[np.object_], window: NDArray[np.object_]) -> Binned:
    """One bin for each of the reference's 50 most frequent values, one for its others, never-seen ones, missing ones.

    Arrays are 1-d of str or None (missing).
    """
    seen: dict[object, int] = {}
    for value in reference:
        if value is not None:
            seen[value] = seen.get(value, 0) + 1
    ranked = sorted(seen, key=lambda value: (-seen[value], str(value)))
    kept = min(len(ranked), MOST_CATEGORIES)
    code_of = {value: min(place, kept) for place, value in enumerate(ranked)}
    never_seen, missing = kept + 1, kept + 2
    code_of[None] = missing

    def codes(values: NDArray[np.object_]) -> Codes:
        return np.fromiter((code_of.get(value, never_seen) for value in values), dtype=np.int64, count=len(values))

    return Binned(codes(reference), codes(window), missing + 1, never_seen)


def counts(codes: Codes, bins: int) -> Counts:
    """Rows in each bin, shape (bins,)."""
    return np.bincount(codes, minlength=bins).astype(np.float64)


def psi(reference: Counts, window: Counts) -> float:
    """Population stability index of counts over the same bins, shape (bins,); 0 when the window has no rows."""
    return float(_psis(reference[np.newaxis], window[np.newaxis])[0])


def _psis(references: Counts, windows: Counts) -> Counts:
    """PSI of each pair of rows, shapes (m, bins) and (m, bins) -> (m,).

    Reference shares get half a row a bin; the window's are drawn to the reference's by as much, so that a bin which is
    empty in both adds nothing.
    """
    mass = SMOOTHING * references.shape[1]
    p = (references + SMOOTHING) / (references.sum(axis=1, keepdims=True) + mass)
    q = (windows + mass * p) / (windows.sum(axis=1, keepdims=True) + mass)
    found: Counts = np.sum((q - p) * np.log(q / p), axis=1)
    return np.maximum(found, 0.0)


def jensen_shannon(reference: Counts, window: Counts) -> float:
    """Jensen-Shannon distance (square root of the divergence, base 2): 0 same, 1 nothing in common."""
    if not window.sum() or not reference.sum():
        return 0.0
    p, q = reference / reference.sum(), window / window.sum()
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    return float(np.sqrt(max(0.0, terms.sum() / 2)))


@dataclass(frozen=True)
class Null:
    """PSI of windows without a change: sorted, with mean and deviation of the cube roots.

    `windows` is how many independent ones they are worth.
    """

    statistics: Counts
    mean: float
    deviation: float
    windows: float

    @classmethod
    def fit(cls, statistics: Counts, windows: float) -> Null:
        """From PSI values, shape (m,), worth `windows` independent ones (those that overlap are worth less)."""
        roots = np.cbrt(np.maximum(statistics, 0.0))
        deviation = float(roots.std(ddof=1)) if roots.size > 1 else 0.0
        return cls(np.sort(statistics), float(roots.mean()) if roots.size else 0.0, deviation, windows)

    def threshold(self, rate: float) -> float:
        """The PSI that a window without a change exceeds with probability `rate`: the larger of fit and quantile.

        The fit reaches further out than the sample; the sample knows of rare values, which make tails longer.
        """
        reach = float(stats.t.isf(rate, max(self.windows - 1, 1.0))) * self._spread
        fitted = max(0.0, self.mean + reach) ** 3
        seen = float(np.quantile(self.statistics, 1 - rate, method="higher")) if self.statistics.size else 0.0
        return max(fitted, seen)

    def p(self, statistic: float) -> float:
        """Probability that a window without a change has a PSI of at least `statistic`."""
        distance = float(np.cbrt(statistic)) - self.mean
        seen = self.statistics.size - int(np.searchsorted(self.statistics, statistic, side="left"))
        share = seen / self.statistics.size if self.statistics.size else 0.0
        if self._spread == 0:
            return max(share, 1.0 if distance <= 0 else 0.0)
        return max(share, float(stats.t.sf(distance / self._spread, max(self.windows - 1, 1.0))))

    @property
    def _spread(self) -> float:
        return self.deviation * float(np.sqrt(1 + 1 / max(self.windows, 1.0)))


def null_of_rows(reference: Counts, rows: int, draws: int, random: np.random.Generator) -> Null:
    """Null windows of `rows` rows each, drawn one by one from the reference (no order in time), over `draws` resamples.

    Both sides are resampled (two-sample bootstrap), so that the reference's own sampling noise is in the null.
    """
    total = int(reference.sum())
    if not total or not rows:
        return Null.fit(np.zeros(0), draws)
    share = (reference + SMOOTHING) / (total + SMOOTHING * reference.size)
    references = random.multinomial(total, share, size=draws).astype(np.float64)
    windows = random.multinomial(rows, share, size=draws).astype(np.float64)
    return Null.fit(_psis(references, windows), draws)


@dataclass(frozen=True)
class Blocks:
    """Stretches of the reference, slices of its rows in order of time; `independent`: how many fit side by side."""

    slices: tuple[slice, ...] = ()
    independent: float = 0.0


def null_of_blocks(codes: Codes, bins: int, rows: int, blocks: Blocks, random: np.random.Generator) -> Null:
    """Null windows that are stretches of the reference in time, brought to `rows` rows, each against the rest of it.

    `codes` are in order of time.
    """
    everything = counts(codes, bins)
    rest, windows = [], []
    for block in blocks.slices:
        inside = counts(codes[block], bins)
        size = int(inside.sum())
        if rows < size:
            drawn = random.multivariate_hypergeometric(inside.astype(np.int64), rows, DRAWS_A_BLOCK, method="marginals")
        else:
            drawn = random.multinomial(rows, inside / size, DRAWS_A_BLOCK)
        rest += [everything - inside] * DRAWS_A_BLOCK
        windows.append(drawn.astype(np.float64))
    return Null.fit(_psis(np.array(rest), np.concatenate(windows)), blocks.independent)
