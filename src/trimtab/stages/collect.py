"""Taking from the two logs what one monitoring window is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from trimtab.stages.cohort import Cohort
from trimtab.stages.featurejson import expand_features


@dataclass(frozen=True)
class Window:
    """The rows of one window [since, until).

    `served`: one row an answered request whose event time is in the window, by any version: the raw columns and `_id`,
    `_time`, `prediction`, `scores`, `latency_ms`, `version`. `matured`: answers of one version whose labels matured in
    the window (event time + delay within it): the same and `label`, `label_time`.
    """

    since: datetime
    until: datetime
    served: pd.DataFrame
    matured: pd.DataFrame


def window(
    cohort: Cohort, columns: Sequence[str], *, since: datetime, until: datetime, version: str | None = None
) -> Window:
    """Cut one window out of `cohort.join(predictions, labels, now, delay)`.

    `columns` are the raw columns of the model (manifest). `version` is the champion's: quality is of its own answers;
    None takes every version's. With a label delay the rows of `matured` are older than those of `served`.
    """
    answers = cohort.answers
    served = answers[_within(answers["time"], since, until)]
    mine = answers if version is None else answers[answers["version"] == version]
    mine = mine[mine["matured"].to_numpy(dtype=bool)]
    matured = mine[_within(mine["time"], since - cohort.delay, until - cohort.delay, last=True)]
    return Window(since, until, _rows(served, columns), _rows(matured, columns, labelled=True))


def _within(times: pd.Series, since: datetime, until: datetime, *, last: bool = False) -> np.ndarray:
    """Half-open [since, until); with `last` (since, until], as a row matures at the very end of its delay."""
    if last:
        return ((times > since) & (times <= until)).to_numpy(dtype=bool)
    return ((times >= since) & (times < until)).to_numpy(dtype=bool)


def _rows(records: pd.DataFrame, columns: Sequence[str], *, labelled: bool = False) -> pd.DataFrame:
    frame = expand_features(records["features"], list(columns))
    frame["_id"] = records["id"].to_numpy(dtype=object)
    frame["_time"] = records["time"].reset_index(drop=True)
    kept = ("prediction", "scores", "latency_ms", "version", *(("label", "label_time") if labelled else ()))
    for name in kept:
        frame[name] = records[name].to_numpy() if name in records else None
    return frame
