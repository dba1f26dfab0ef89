"""Has the traffic of a window drifted from what the champion was trained on, in a way that can matter to it?

Every raw column is compared by the population stability index (`drift_statistics`). A column has drifted when its PSI
is above what windows without a change show - at a rate such that all columns in use together raise at most
`false_alarm_rate` false alarms (Bonferroni, Dunn 1961; it needs no independence) - and above `least_psi`, below which
a shift is too small to act on however sure one is. A column that the model does not use is reported, and is no cause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trimtab.decisions import drift_statistics as statistics
from trimtab.spec.monitoring import Drift

Column = NDArray[Any]
NullKind = Literal["blocks", "rows"]

MOST_BLOCKS = 60
LEAST_BLOCKS = 3
DRAWS = 1000
LEAST_IMPORTANCE_SHARE = 0.05


@dataclass(frozen=True)
class ColumnDrift:
    """One column of a window against the reference. Shares are of rows; `importance` None: not measured."""

    feature: str
    kind: Literal["number", "category"]
    psi: float
    js: float
    threshold: float
    p: float
    importance: float | None
    used: bool
    drifted: bool
    missing_share: float
    reference_missing_share: float
    never_seen_share: float
    never_seen: tuple[str, ...] = ()

    @property
    def weight(self) -> float:
        """Importance, or 1 where it was not measured."""
        return 1.0 if self.importance is None else max(0.0, self.importance)

    @property
    def sentence(self) -> str:
        """The comparison for a person."""
        said = f"{self.feature}: PSI {self.psi:.2f} against {self.threshold:.2f} that chance and season explain"
        if not self.used:
            said += "; the model does not use it"
        return said


@dataclass(frozen=True)
class DriftVerdict:
    """What a window shows. `null`: windows without a change were stretches in time, or rows drawn at random."""

    verdict: Literal["stable", "drifted", "insufficient evidence"]
    columns: tuple[ColumnDrift, ...]
    reasons: tuple[str, ...]
    rows: int
    reference_rows: int
    null: NullKind = "rows"
    null_windows: float = 0.0

    @property
    def drift_share(self) -> float:
        """Share of the columns in use that drifted; 0 when none is in use."""
        used = [column for column in self.columns if column.used]
        return sum(column.drifted for column in used) / len(used) if used else 0.0

    @property
    def causes(self) -> tuple[str, ...]:
        """The columns that drifted and that the model uses, most important first."""
        found = [column for column in self.columns if column.drifted and column.used]
        return tuple(column.feature for column in sorted(found, key=lambda c: (-c.weight, -c.psi)))


@dataclass(frozen=True)
class Sample:
    """Rows as columns: name to a 1-d array, float64 (NaN missing) or object of str and None; all of one length.

    `time` is seconds, shape (rows,), in ascending order; None when the order of rows means nothing.
    """

    columns: Mapping[str, Column]
    rows: int
    time: NDArray[np.float64] | None = field(default=None)


def judge(
    reference: Sample,
    window: Sample,
    policy: Drift,
    *,
    window_seconds: float | None = None,
    importance: Mapping[str, float] | None = None,
    seed: int = 0,
) -> DriftVerdict:
    """Compare every column of `reference` with the window's (a column the window lacks counts as missing throughout).

    With `reference.time` and `window_seconds`, null windows are contiguous stretches of that length, so that seasons
    and uneven effort are no drift; else, or when the reference spans fewer than 3 windows, rows drawn at random.
    `importance` (column -> how much the model's quality falls without it; any unit) None means that all are in use.
    """
    reasons = _too_little(reference, window, policy)
    blocks = _blocks(reference, window.rows, window_seconds, policy)
    used = _in_use(reference, importance)
    rate = policy.false_alarm_rate / max(1, len(used))
    calibration = _Calibration(blocks, rate, np.random.default_rng(seed))
    columns = tuple(
        _compare(
            name,
            reference,
            window,
            calibration,
            importance=None if not importance else float(importance.get(name, 0.0)),
            used=name in used,
            least_psi=policy.least_psi,
            enough=not reasons,
        )
        for name in reference.columns
    )
    return _conclude(columns, reasons, reference.rows, window.rows, blocks.independent)


@dataclass(frozen=True)
class _Calibration:
    blocks: statistics.Blocks
    rate: float
    random: np.random.Generator

    def null(self, binned: statistics.Binned, rows: int) -> statistics.Null:
        if self.blocks.slices:
            return statistics.null_of_blocks(binned.reference, binned.bins, rows, self.blocks, self.random)
        return statistics.null_of_rows(statistics.counts(binned.reference, binned.bins), rows, DRAWS, self.random)


def _compare(
    name: str,
    reference: Sample,
    window: Sample,
    calibration: _Calibration,
    *,
    importance: float | None,
    used: bool,
    least_psi: float,
    enough: bool,
) -> ColumnDrift:
    expected = reference.columns[name]
    found = window.columns.get(name)
    number = expected.dtype.kind == "f"
    if found is None:
        found = np.full(window.rows, np.nan) if number else np.full(window.rows, None, dtype=object)
    binned = statistics.bin_numbers(expected, found) if number else statistics.bin_categories(expected, found)
    before, now = statistics.counts(binned.reference, binned.bins), statistics.counts(binned.window, binned.bins)
    psi = statistics.psi(before, now)
    null = calibration.null(binned, window.rows)
    threshold = max(least_psi, null.threshold(calibration.rate))
    new = now[binned.never_seen] if binned.never_seen is not None else 0.0
    return ColumnDrift(
        feature=name,
        kind="number" if number else "category",
        psi=psi,
        js=statistics.jensen_shannon(before, now),
        threshold=threshold,
        p=null.p(psi),
        importance=importance,
        used=used,
        drifted=enough and psi > threshold,
        missing_share=_share(now[-1], window.rows),
        reference_missing_share=_share(before[-1], reference.rows),
        never_seen_share=_share(new, window.rows),
        never_seen=() if not new else _some(found[binned.window == binned.never_seen]),
    )


def _share(part: float, whole: int) -> float:
    return float(part) / whole if whole else 0.0


def _some(values: NDArray[np.object_], most: int = 20) -> tuple[str, ...]:
    return tuple(sorted({str(value) for value in values})[:most])


def _in_use(reference: Sample, importance: Mapping[str, float] | None) -> frozenset[str]:
    """Columns with a share of all importance; every column when it says nothing (not measured, or all nought)."""
    total = sum(max(0.0, value) for value in (importance or {}).values())
    if not importance or total <= 0:
        return frozenset(reference.columns)
    least = total * LEAST_IMPORTANCE_SHARE
    return frozenset(name for name in reference.columns if importance.get(name, 0.0) > 0 and importance[name] >= least)


def _too_little(reference: Sample, window: Sample, policy: Drift) -> tuple[str, ...]:
    reasons = []
    if window.rows < policy.least_rows:
        reasons.append(f"the window has {window.rows} rows; drift is judged from {policy.least_rows}")
    if reference.rows < policy.least_rows:
        reasons.append(f"the reference has {reference.rows} rows; drift is judged from {policy.least_rows}")
    return tuple(reasons)


def _blocks(reference: Sample, rows: int, seconds: float | None, policy: Drift) -> statistics.Blocks:
    """Stretches of `seconds` within the reference, evenly begun; none when it spans too few of them."""
    if reference.time is None or not seconds or reference.rows < 2 or not rows:
        return statistics.Blocks()
    span = float(reference.time[-1] - reference.time[0])
    fit = span / seconds
    if fit < LEAST_BLOCKS:
        return statistics.Blocks()
    starts = reference.time[0] + np.linspace(0.0, span - seconds, MOST_BLOCKS)
    first = np.searchsorted(reference.time, starts, side="left")
    last = np.searchsorted(reference.time, starts + seconds, side="right")
    least = min(rows, policy.least_rows) / 2
    kept = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True) if b - a >= least)
    independent = fit * len(kept) / MOST_BLOCKS
    return statistics.Blocks(kept, independent) if independent >= LEAST_BLOCKS else statistics.Blocks()


def _conclude(
    columns: tuple[ColumnDrift, ...], reasons: tuple[str, ...], reference_rows: int, rows: int, null_windows: float
) -> DriftVerdict:
    verdict: Literal["stable", "drifted", "insufficient evidence"] = "insufficient evidence"
    if not reasons:
        verdict = "drifted" if any(column.drifted and column.used for column in columns) else "stable"
        reasons = tuple(column.sentence for column in columns if column.drifted)
    null: NullKind = "blocks" if null_windows else "rows"
    return DriftVerdict(verdict, columns, reasons, rows, reference_rows, null, null_windows)
