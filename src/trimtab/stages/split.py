"""Telling training rows and hold-out rows apart, so that the hold-out says what will happen in service.

Which row falls on which side depends on its id (or entity), the seed and the other rows' number, never on the order of
the rows: the keyed hash of the id ranks them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from trimtab.errors import DataRefused
from trimtab.spec.data import Data, Split

_STRATA = 10
"""Quantile bins of a label that is a measurement."""


def split(frame: pd.DataFrame, split: Split, data: Data, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`frame` (as ingest gives it) as (training rows, hold-out rows), each in the frame's order, neither empty.

    time: the newest `holdout` share is held out; rows of one moment stay together. entity: whole entities, so that none
    is on both sides. stratified: every class with two rows or more is on both sides (quantile bins of a measurement).
    Raises DataRefused when no such split exists, or when all training rows would be of one class.
    """
    if len(frame) < 2:
        raise DataRefused(
            f"data.split: {len(frame)} row(s) cannot be split. Give more rows, or a wider `training.window`."
        )
    if split.by == "time":
        held = _by_time(frame, split.holdout)
    elif split.by == "entity":
        held = _by_entity(frame, split.holdout, data.entity, seed)
    else:
        held = _stratified(frame, split.holdout, data.label.column, seed)
    _refuse_one_class(frame, held, data.label.column, split.by)
    return frame[~held].reset_index(drop=True), frame[held].reset_index(drop=True)


def _by_time(frame: pd.DataFrame, holdout: float) -> np.ndarray:
    """The newest rows: the boundary between two moments nearest to the wanted share (the later one on a tie)."""
    times = frame["_time"].to_numpy()
    moments, counts = np.unique(times, return_counts=True)
    if len(moments) < 2:
        raise DataRefused(
            f"data.split: all {len(frame)} rows have the event time {moments[0]}, so none is newer. "
            "Say `data.split.by: stratified`, or correct `data.time`."
        )
    newer = len(frame) - np.cumsum(counts)[:-1]  # rows held out when the boundary is after each moment but the last
    distance = np.abs(newer - holdout * len(frame))
    boundary = len(distance) - 1 - int(np.argmin(distance[::-1]))
    return np.asarray(times > moments[boundary])


def _by_entity(frame: pd.DataFrame, holdout: float, entity: str | None, seed: int) -> np.ndarray:
    """Whole entities in the order of their hash, until one more would lead away from the wanted share."""
    if entity is None:
        raise DataRefused("data.split.by: entity needs `data.entity`, the column that names the thing observed.")
    missing = frame[entity].isna()
    if missing.any():
        first = frame["_id"][missing.to_numpy()].iloc[0]
        raise DataRefused(
            f"data.split.by: entity: row {first!r} has no {entity!r} ({int(missing.sum())} rows in all). "
            "Fill it, or split by time."
        )
    names = frame[entity].map(str)
    counts = names.value_counts().sort_index()
    if len(counts) < 2:
        raise DataRefused(f"data.split.by: entity: {entity!r} has one value only, {counts.index[0]!r}. Split by time.")
    ranked = counts.iloc[_rank(counts.index.to_numpy(dtype=object), seed)]
    reached = np.cumsum(ranked.to_numpy())[:-1]  # the last entity always stays in training
    chosen = int(np.argmin(np.abs(reached - holdout * len(frame)))) + 1
    return names.isin(ranked.index[:chosen]).to_numpy()


def _stratified(frame: pd.DataFrame, holdout: float, label: str, seed: int) -> np.ndarray:
    """Within each class the rows with the lowest hashes; a class of one row stays in training."""
    classes = _strata(frame[label])
    order = _rank(frame["_id"].to_numpy(dtype=object), seed)
    position = np.empty(len(frame), dtype=np.int64)
    position[order] = np.arange(len(frame))
    ranks = pd.Series(position).groupby(classes).rank(method="first").to_numpy() - 1
    sizes = np.bincount(classes)[classes]
    wanted = np.where(sizes < 2, 0, np.clip(np.round(sizes * holdout), 1, np.maximum(sizes - 1, 1)))
    held = ranks < wanted
    if not held.any():
        raise DataRefused(
            f"data.split.by: stratified: every class of {label!r} has one row only, so none can be on both sides. "
            "Split by time, or give more rows."
        )
    return np.asarray(held)


def _strata(label: pd.Series) -> np.ndarray:
    """Class codes (n,); a measured label (fractions, or more than 50 different numbers) is cut into quantile bins."""
    if label.dtype.kind in "iuf":
        values = label.to_numpy(dtype=np.float64)
        different = np.unique(values)
        if different.size > 50 or (different != np.floor(different)).any():
            edges = np.unique(np.quantile(values, np.linspace(0, 1, _STRATA + 1)[1:-1]))
            return np.searchsorted(edges, values, side="right")
    return pd.factorize(label.map(str), sort=True)[0]


def _rank(names: np.ndarray, seed: int) -> np.ndarray:
    """Positions of the names in the order of their keyed hash; equal hashes by name."""
    hashes = pd.util.hash_array(names, hash_key=f"{seed:016x}"[-16:], categorize=False)
    return np.lexsort((names.astype(str), hashes))


def _refuse_one_class(frame: pd.DataFrame, held: np.ndarray, label: str, by: str) -> None:
    training = frame[label][~held]
    if frame[label].nunique() > 1 and training.nunique() < 2:
        raise DataRefused(
            f"data.split.by: {by}: all training rows would be {label} = {training.iloc[0]!r}. "
            "Say `data.split.by: stratified`, hold out less, or give more rows."
        )
