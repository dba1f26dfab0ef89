"""Adding served rows whose label came back to the rows of the source."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trimtab.errors import DataRefused
from trimtab.stages.featurejson import typed_column


def join_feedback(frame: pd.DataFrame, served: pd.DataFrame, label: str) -> pd.DataFrame:
    """`frame` (as ingest makes it) with the served rows added, sorted by `_time`; of one `_id` the last row counts.

    Columns that a request does not carry are missing there; a value whose type does not fit its column raises
    DataRefused.
    """
    served = served.drop_duplicates("_id", keep="last")
    added: dict[str, pd.Series | np.ndarray] = {}
    for name in frame.columns:
        if name == "_id":
            added[name] = served[name].astype(str).to_numpy(dtype=object)
        elif name == "_time":
            added[name] = pd.to_datetime(served[name], utc=True).astype("datetime64[us, UTC]").reset_index(drop=True)
        elif name not in served:
            added[name] = _missing(frame[name], len(served))
        elif name == label:
            frame, added[name] = _labels(frame, served[name], name)
        else:
            added[name] = _fitting(frame[name], served[name], served["_id"])
    attrs = frame.attrs
    both = pd.concat([_empty_as(frame, added), pd.DataFrame(added)], ignore_index=True)
    both = both.sort_values("_time", kind="stable", ignore_index=True)
    both.attrs = {**attrs, "feedback_rows": len(served)}
    return both


def _empty_as(frame: pd.DataFrame, added: dict[str, pd.Series | np.ndarray]) -> pd.DataFrame:
    """With no row in the source visible, the added rows alone say what type a column has."""
    return frame if len(frame) else frame.astype({name: added[name].dtype for name in frame.columns})


def _missing(like: pd.Series, rows: int) -> np.ndarray:
    if like.dtype.kind in "if":
        return np.full(rows, np.nan)
    return np.full(rows, None, dtype=object)


def _labels(frame: pd.DataFrame, labels: pd.Series, name: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Labels travel as text; they become what the source holds, or the source's become text when they cannot."""
    text = labels.astype(str)
    kind = frame[name].dtype.kind
    if kind in "if":
        numbers = pd.to_numeric(text, errors="coerce")
        if numbers.notna().all() and (kind == "f" or (numbers == np.floor(numbers)).all()):
            return frame, numbers.to_numpy(dtype=np.int64 if kind == "i" else np.float64)
    if kind == "b" and text.str.lower().isin(["true", "false"]).all():
        return frame, (text.str.lower() == "true").to_numpy()
    as_words = frame.assign(**{name: frame[name].map(str, na_action="ignore").astype(object)})
    as_words.attrs = frame.attrs
    return as_words, text.to_numpy(dtype=object)


def _fitting(like: pd.Series, values: pd.Series, ids: pd.Series) -> np.ndarray:
    """The served values with the type of the source's column."""
    missing = values.isna()
    if not like.notna().any():  # the source says nothing of this column's type
        return typed_column(values.astype(object).where(~missing, None).tolist())
    kind = like.dtype.kind
    if kind in "if":
        numbers = pd.to_numeric(values.astype(object).where(~missing, None), errors="coerce")
        bad = (numbers.isna() & ~missing) | values.map(lambda value: isinstance(value, str | bool))
        _refuse(bad, values, ids, str(like.name), "a number")
        whole = kind == "i" and not missing.any() and bool((numbers == np.floor(numbers)).all())
        return numbers.to_numpy(dtype=np.int64 if whole else np.float64)
    wanted: type = bool if kind == "b" or _holds(like, bool) else str
    bad = ~missing & ~values.map(lambda value: isinstance(value, wanted | np.bool_ if wanted is bool else wanted))
    _refuse(bad, values, ids, str(like.name), "true or false" if wanted is bool else "text")
    return values.astype(object).where(~missing, None).to_numpy(dtype=object)


def _holds(series: pd.Series, kind: type) -> bool:
    first = series.first_valid_index()
    return first is not None and isinstance(series.loc[first], kind)


def _refuse(bad: pd.Series, values: pd.Series, ids: pd.Series, name: str, wanted: str) -> None:
    if bad.any():
        position = int(np.flatnonzero(bad.to_numpy())[0])
        raise DataRefused(
            f"feedback row {ids.iloc[position]!r}: column {name!r} holds {values.iloc[position]!r}; the source holds "
            f"{wanted} ({int(bad.sum())} rows in all). State the type in `data.contract`, so that the server refuses "
            "such rows, or say `data.useFeedback: false`."
        )
