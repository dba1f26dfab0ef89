"""Taking from the two logs what one monitoring window is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.stages.cohort import Cohort
from trimtab.stages.featurejson import expand_features


@dataclass(frozen=True)
class Window:
    """The rows of one window [since, until).

    `served`: one row an answered request whose event time is in the window, by any version: the raw columns and `_id`,
    `_time`, `_prediction`, `_scores`, `_latency_ms`, `_version`.
    `matured`: answers of `version` (None: of all) whose labels matured in the window, that is, event time + delay, or
    the label's arrival if that was later, is in (since, until]; the same columns and `_label`, `_label_time`.
    `labels`: every label that matured in the window, whichever version answered.
    """

    since: datetime
    until: datetime
    served: pd.DataFrame
    matured: pd.DataFrame
    labels: NDArray[np.object_]
    version: str | None = None


def window(
    cohort: Cohort, columns: Sequence[str], *, since: datetime, until: datetime, version: str | None = None
) -> Window:
    """Cut one window out of `cohort.join(predictions, labels, now, delay)`.

    `columns` are the raw columns that a request holds (the contract's features). `version` is the champion's: quality
    is of its own answers; None takes every version's. With a label delay the rows of `matured` are older than those of
    `served`.
    """
    answers = cohort.answers
    served = answers[((answers["time"] >= since) & (answers["time"] < until)).to_numpy(dtype=bool)]
    ripe = answers[answers["matured"].to_numpy(dtype=bool)]
    due = ripe["time"] + cohort.delay
    ripened = due.where(due >= ripe["label_time"], ripe["label_time"])
    ripe = ripe[((ripened > since) & (ripened <= until)).to_numpy(dtype=bool)]
    mine = ripe if version is None else ripe[ripe["version"] == version]
    return Window(
        since=since,
        until=until,
        served=_rows(served, columns),
        matured=_rows(mine, columns, labelled=True),
        labels=ripe["label"].to_numpy(dtype=object),
        version=version,
    )


def _rows(records: pd.DataFrame, columns: Sequence[str], *, labelled: bool = False) -> pd.DataFrame:
    frame = expand_features(records["features"], list(columns))
    frame["_id"] = records["id"].to_numpy(dtype=object)
    frame["_time"] = records["time"].reset_index(drop=True)
    kept = ("prediction", "scores", "latency_ms", "version", *(("label", "label_time") if labelled else ()))
    for name in kept:
        frame[f"_{name}"] = records[name].reset_index(drop=True) if name in records else None
    return frame
