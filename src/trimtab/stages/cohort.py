"""Joining what was predicted with what turned out to be true, as it was known at one moment.

A metric is computed only over a *matured* cohort: predictions older than the label delay whose label has arrived.
Younger ones are left out even when their label is already there, because labels that come early are not a fair sample.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trimtab.errors import DataRefused
from trimtab.stages.featurejson import expand_features
from trimtab.stages.logrecords import (
    LABEL_COLUMNS,
    PREDICTION_COLUMNS,
    group_codes,
    last_of_each,
    numeric,
    read_records,
    seen_at,
    text_ranks,
    times_of,
)
from trimtab.stages.spelling import as_answered

__all__ = ["Cohort", "Counts", "Scored", "expand_features", "join"]


@dataclass(frozen=True)
class Counts:
    """How the rows of the two logs were used. All are numbers of rows or ids, as seen at `now`."""

    predictions: int
    """Prediction records, before anything was dropped."""
    answers: int
    """Ids answered: one record each, not shadow, the highest attempt."""
    superseded: int
    """Other records of an answered id: repeats, and attempts before the last."""
    shadow: int
    """Shadow records, one per id and version."""
    labels: int
    """Label records, before anything was dropped."""
    duplicate_labels: int
    """Label records that repeat the id's label."""
    changed_labels: int
    """Ids whose label was changed later; the latest arrival counts."""
    unknown_ids: int
    """Labelled ids without any prediction among those given."""
    matured: int
    """Answers older than the delay with their label: what metrics are computed over."""
    overdue: int
    """Answers older than the delay still without a label."""
    early: int
    """Answers younger than the delay whose label is already there; not used yet."""
    awaiting: int
    """Answers younger than the delay without a label."""
    late: int
    """Matured answers whose label took longer than the delay."""
    before_prediction: int
    """Answers whose label had arrived before the prediction was made; used, but worth a look."""
    unusable_labels: int = 0
    """Label records that are no number where one is predicted; not used."""


@dataclass(frozen=True)
class Scored:
    """Predictions of one kind beside the truth, aligned by position; n rows."""

    ids: np.ndarray
    times: np.ndarray
    """Of the predictions, datetime64[us] in UTC."""
    truth: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray | None
    """(n, k) float64 in the order of the version's classes; None if not logged, or of more than one length."""
    features: pd.Series
    """Each row's raw columns as JSON text."""

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """(truth, prediction) as float64, for regression; raises DataRefused unless joined with `numbers`."""
        truth = pd.to_numeric(pd.Series(self.truth, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
        if not np.isfinite(truth).all():
            at = int(np.flatnonzero(~np.isfinite(truth))[0])
            raise DataRefused(
                f"label of {self.ids[at]!r} is {self.truth[at]!r}, which is no number. Send the label again."
            )
        return truth, self.prediction.astype(np.float64)

    def frame(self, columns: list[str]) -> pd.DataFrame:
        """The raw columns asked for (n, len(columns)); a column that a request lacked is missing there."""
        return expand_features(self.features, columns)


@dataclass(frozen=True)
class Cohort:
    """What was known at `now`. Both frames have the log's columns and `label`, `label_time` (NaT: none), `matured`."""

    now: datetime
    delay: timedelta
    answers: pd.DataFrame
    """One row per id: what the caller was told. Sorted by time, then id."""
    shadows: pd.DataFrame
    """One row per id and version: what a shadow would have said. Sorted by time, then id, then version."""
    counts: Counts

    def scored(self, version: str | None = None, *, shadow: bool = False) -> Scored:
        """The matured rows of one version (None: of all), among the answers or among the shadows."""
        return _scored(_of_version(self._matured(shadow), version))

    def paired(self, champion: str, candidate: str) -> tuple[Scored, Scored]:
        """Champion's answers and candidate's shadow answers on the same ids, aligned: same requests, same truth."""
        told = _of_version(self._matured(False), champion)
        shown = _of_version(self._matured(True), candidate)
        ids = pd.Index(told["id"]).intersection(pd.Index(shown["id"]), sort=False)
        return _scored(_aligned(told, ids)), _scored(_aligned(shown, ids))

    def unlabelled(self, version: str | None = None) -> pd.DataFrame:
        """Answers without a label at `now`."""
        frame = _of_version(self.answers, version)
        return frame[frame["label_time"].isna()].reset_index(drop=True)

    def feedback(self, columns: list[str], label: str) -> pd.DataFrame:
        """Labelled answers as rows for `ingest.read(feedback=…)`: raw columns, label, `_id`, `_time`, `_label_time`."""
        known = self.answers[self.answers["label_time"].notna()]
        frame = expand_features(known["features"], [name for name in columns if name != label])
        frame[label] = known["label"].to_numpy(dtype=object)
        frame["_id"] = known["id"].to_numpy(dtype=object)
        frame["_time"] = known["time"].reset_index(drop=True)
        frame["_label_time"] = known["label_time"].reset_index(drop=True)
        return frame

    def summary(self) -> dict[str, int]:
        """The counts by name, for JSON."""
        return asdict(self.counts)

    def _matured(self, shadow: bool) -> pd.DataFrame:
        frame = self.shadows if shadow else self.answers
        return frame[frame["matured"].to_numpy(dtype=bool)]


def join(
    predictions: pd.DataFrame | pa.Table,
    labels: pd.DataFrame | pa.Table,
    now: datetime,
    delay: timedelta,
    *,
    numbers: bool = False,
) -> Cohort:
    """Join records of the two logs by id as known at `now`.

    Records dated after `now` are not looked at, neither predictions nor labels. THE answer of an id is its non-shadow
    record with the highest attempt (the latest of equals). Of several labels of an id the last to arrive counts.
    Order and repetition of the records do not matter. `numbers`: labels are numbers, and others are left out.
    """
    moment = np.datetime64(now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now, "us")
    told = seen_at(read_records(predictions, PREDICTION_COLUMNS, "prediction"), moment)
    labelled = seen_at(read_records(labels, LABEL_COLUMNS, "label"), moment)
    truth, counts = _final_labels(numeric(labelled) if numbers else labelled)
    counts |= {"labels": labelled.num_rows, "unusable_labels": labelled.num_rows - counts["labels"]}
    live = told.filter(pc.invert(told["shadow"]))
    answers = live.take(pa.array(_last_attempts(live, by_version=False)))
    aside = told.filter(told["shadow"])
    shadows = aside.take(pa.array(_last_attempts(aside, by_version=True)))
    known = truth["id"]
    counts["unknown_ids"] = len(known) - int(pc.sum(pc.is_in(known, told["id"].combine_chunks())).as_py() or 0)
    frame = _labelled(answers, truth, moment, delay, numbers)
    return Cohort(
        now=now,
        delay=delay,
        answers=frame,
        shadows=_labelled(shadows, truth, moment, delay, numbers),
        counts=Counts(
            predictions=told.num_rows,
            answers=answers.num_rows,
            superseded=live.num_rows - answers.num_rows,
            shadow=shadows.num_rows,
            **counts,
            **_maturity(frame, moment, delay),
        ),
    )


def _last_attempts(table: pa.Table, *, by_version: bool) -> np.ndarray:
    groups = group_codes(table["id"], table["version"]) if by_version else group_codes(table["id"])
    attempts = np.asarray(table["attempt"].to_numpy(), dtype=np.int64)
    return last_of_each(
        groups, attempts, times_of(table), text_ranks(table["version"]), text_ranks(table["prediction"])
    )


def _final_labels(table: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """One label per id, the last to arrive, and how many were repeated or changed."""
    ids, values = group_codes(table["id"]), group_codes(table["id"], table["label"])
    different = len(np.unique(values))
    final = last_of_each(ids, times_of(table), text_ranks(table["label"]))
    pairs = np.unique(np.column_stack([ids, values]), axis=0)[:, 0] if len(ids) else ids
    changed = int((np.unique(pairs, return_counts=True)[1] > 1).sum())
    counts = {"labels": table.num_rows, "duplicate_labels": table.num_rows - different, "changed_labels": changed}
    return table.take(pa.array(final)).select(["id", "label", "time"]), counts


def _labelled(
    records: pa.Table, truth: pa.Table, moment: np.datetime64, delay: timedelta, numbers: bool
) -> pd.DataFrame:
    """The records as a frame with `label`, `label_time` and `matured`, sorted so that no order of the logs shows."""
    at = pc.index_in(records["id"], truth["id"].combine_chunks())
    label = truth["label"].combine_chunks().take(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at)
    when = truth["time"].combine_chunks().take(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at)
    times = times_of(records)
    arrived = np.asarray(when.to_numpy(zero_copy_only=False)).astype("datetime64[us]")
    matured = (times + np.timedelta64(delay) <= moment) & ~np.isnat(arrived)
    frame: pd.DataFrame = records.drop_columns(["time"]).to_pandas()
    frame["time"] = pd.Series(times).dt.tz_localize("UTC")
    frame["label"] = np.array(label.to_pylist(), dtype=object)
    if not numbers:
        frame["label"] = as_answered(frame["label"], frame["prediction"], frame["version"])
    frame["label_time"] = pd.Series(arrived).dt.tz_localize("UTC")
    frame["matured"] = matured
    order = np.lexsort((text_ranks(records["version"]), text_ranks(records["id"]), times))
    return frame.iloc[order].reset_index(drop=True)


def _maturity(frame: pd.DataFrame, moment: np.datetime64, delay: timedelta) -> dict[str, int]:
    times = frame["time"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    arrived = frame["label_time"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    known = ~np.isnat(arrived)
    old = times + np.timedelta64(delay) <= moment
    return {
        "matured": int((old & known).sum()),
        "overdue": int((old & ~known).sum()),
        "early": int((~old & known).sum()),
        "awaiting": int((~old & ~known).sum()),
        "late": int((old & known & (arrived > times + np.timedelta64(delay))).sum()),
        "before_prediction": int((known & (arrived < times)).sum()),
    }


def _of_version(frame: pd.DataFrame, version: str | None) -> pd.DataFrame:
    return frame if version is None else frame[frame["version"] == version]


def _aligned(frame: pd.DataFrame, ids: pd.Index) -> pd.DataFrame:
    return frame.set_index("id", drop=False).loc[ids]


def _scored(frame: pd.DataFrame) -> Scored:
    return Scored(
        ids=frame["id"].to_numpy(dtype=object),
        times=frame["time"].dt.tz_localize(None).to_numpy().astype("datetime64[us]"),
        truth=frame["label"].to_numpy(dtype=object),
        prediction=frame["prediction"].to_numpy(dtype=object),
        scores=_matrix(frame["scores"]),
        features=frame["features"].reset_index(drop=True),
    )


def _matrix(scores: pd.Series) -> np.ndarray | None:
    """Lists of one length as (n, k); None when any is absent or of another length."""
    rows = [row for row in scores if row is not None]
    if len(rows) != len(scores) or not rows or len({len(row) for row in rows}) != 1 or not len(rows[0]):
        return None
    return np.array([np.asarray(row, dtype=np.float64) for row in rows])
