"""What `trimtab init` says of data that would be read otherwise than a person may think."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trimtab.spec.data import MARKS
from trimtab.stages.text_rules import dressed_number

if TYPE_CHECKING:
    import pandas as pd

    from trimtab.cli.data_sample import Sample


def label_marks(found: Sample, label: str, problem: str) -> tuple[dict[str, Any], list[str]]:
    """Keys of `data.source` that keep classes that look like missing marks, and sentences on labels that are missing.

    A mark is kept as a class if the other classes are words too and no other column uses it.
    """
    texts = found.texts(label)
    counts = texts[texts.isin(MARKS)].value_counts()
    words = [str(mark) for mark in counts.index if mark]
    said = []
    if "" in counts.index:
        said.append(f"{int(counts[''])} of {len(texts)} rows have no {label!r}: they are left out of training")
    if not words:
        return {}, said
    elsewhere = {mark for mark in words for name in found.frame.columns if name != label and _uses(found, name, mark)}
    kept = (
        [] if problem != "classification" or _numbers(found.frame[label]) else [m for m in words if m not in elsewhere]
    )
    for mark in words:
        rows = f"{int(counts[mark])} of {len(texts)} rows have the {label} {mark!r}"
        if mark in kept:
            said.append(
                f"{rows}: it is taken as a class, as data.source.missing says; if it means missing, add it there"
            )
        else:
            said.append(f"{rows}, which means missing: they are left out of training; if it is a class, rename it")
    return ({"missing": [mark for mark in MARKS if mark not in kept]} if kept else {}), said


def dressed_columns(frame: pd.DataFrame, label: str, taken: list[str]) -> list[str]:
    """A sentence on each column whose numbers are written so that they are read as text."""
    said = []
    for name in frame.columns:
        if frame[name].dtype == object and name not in taken:
            example = dressed_number(frame[name].dropna().astype(str).unique())
            if example:
                what = "the label" if name == label else "a category each"
                said.append(
                    f"column {name!r} holds numbers written like {example!r}, which are read as text ({what}): "
                    "write them plainly, as 37.5 or 1050"
                )
    return said


def _uses(found: Sample, column: str, mark: str) -> bool:
    return bool(found.frame[column].isna().any()) and bool((found.texts(column) == mark).any())


def _numbers(values: pd.Series) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(values)) and not pd.api.types.is_bool_dtype(values)
