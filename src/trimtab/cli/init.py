"""`trimtab init`: a loop.yaml for data that is already here."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from trimtab.cli.data_sample import sample
from trimtab.cli.data_warnings import dressed_columns, label_marks
from trimtab.errors import Refused
from trimtab.loop.home import DOCUMENT
from trimtab.stages.text_rules import dressed_number

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = (".csv", ".csv.gz", ".parquet")
_LEAST_IDENTIFIERS = 30
_RESERVED = ("_id", "_time")
_FORMATS = tuple(
    f"{day}{clock}"
    for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d", "%d %b %Y", "%b %d, %Y")
    for clock in ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
)
_UNIX = {"unix": (1e8, 5e9), "unix_ms": (1e11, 5e12)}  # 1973 to 2128

_TEMPLATE = """\
# What every key means: docs/loop-yaml.md. Check this file with: trimtab validate
apiVersion: trimtab.dev/v1alpha1
kind: ModelLoop
metadata:
  name: {name}
spec:
  scope:
    problem: {problem}
    statement: ""            # the problem in a sentence
    owner: ""                # who answers for the model
    metrics:                 # gates and alarms may name only these; a bound is a promise
{metrics}
  data:
    source: {{path: {path}{reading}}}
    time: {time}
    label: {{column: {label}, delay: 0s}}   # delay: how long after the event the label is known
{identity}{margins}"""
_MARGINS = """\
  release:
    rollBackWhen: {{worseBy: {worse_by}}}   # in the label's unit: 2 % of its standard deviation in these rows
  retraining:
    worseThanHoldoutBy: {worse_than_holdout_by}   # in the label's unit: 5 %
"""


def write(source: Path | None, label: str | None, time: str | None, name: str | None, folder: Path) -> None:
    """Write loop.yaml beside the data; refuses to overwrite one."""
    target = folder / DOCUMENT
    if target.exists():
        raise Refused(f"{target} exists already. Edit it, or delete it first")
    source = source if source is not None else _only_data_file(folder)
    found = sample(source)
    frame, columns = found.frame, [str(column) for column in found.frame.columns]
    for column in _RESERVED:
        if column in columns:
            raise Refused(f"column {column!r}: trimtab adds columns of that name itself. Rename it in {source.name}")
    time_text, time_columns = _time(frame, columns, time)
    label = _label(columns, label, time_columns)
    if label in time_columns:
        raise Refused(
            f"{label!r} says when a row happened, so it cannot be what is predicted. Change --label or --time"
        )
    problem = _problem(frame[label])
    kept, warned = label_marks(found, label, problem)
    identifier = _identifier(frame, columns, label, time_columns)
    warned += dressed_columns(frame, label, [*time_columns, *([identifier] if identifier else [])])
    try:
        shown = source.resolve().relative_to(folder.resolve())
    except ValueError:
        shown = source.resolve()
    text = _TEMPLATE.format(
        name=_loop_name(name, folder, source),
        problem=problem,
        metrics=_metrics(problem),
        path=_quoted(str(shown)),
        reading="".join(f", {key}: {json.dumps(value)}" for key, value in {**found.written, **kept}.items()),
        time=time_text,
        label=_quoted(label),
        identity=f"    id: {_quoted(identifier)}\n" if identifier else "",
        margins=_margins(frame[label]) if problem == "regression" else "",
    )
    target.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {DOCUMENT}: {problem} of {label!r} from {shown} ({len(columns)} columns)")
    if found.written:
        said = ", ".join(f"{key} {value!r}" for key, value in found.written.items())
        typer.echo(f"the file does not say how it is written; it looks like {said}: correct data.source if it is not")
    for sentence in warned:
        typer.echo(f"warning: {sentence}")
    typer.echo("next:  trimtab validate   then   trimtab run   then   trimtab up")


def _metrics(problem: str) -> str:
    names = ("accuracy", "macro_f1") if problem == "classification" else ("mae", "r2")
    return "\n".join(f"      - {{name: {metric}}}" for metric in (*names, "error_rate", "latency_p99_ms"))


def _margins(label: pd.Series) -> str:
    """What `mae` may be worse by: the defaults are points of accuracy. Nothing where the label does not vary."""
    import numpy as np

    values = label.dropna().to_numpy(dtype=float)
    deviation = float(np.std(values)) if values.size and np.isfinite(values).all() else 0.0
    if not (deviation > 0 and np.isfinite(deviation)):
        return ""
    return _MARGINS.format(worse_by=_rounded(0.02 * deviation), worse_than_holdout_by=_rounded(0.05 * deviation))


def _rounded(number: float) -> str:
    """To two significant digits, without an exponent."""
    return f"{Decimal(f'{number:.2g}'):f}"


def _only_data_file(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.name.endswith(_ENDINGS))
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found[:10]) or "none"
    raise Refused(f"data files here: {names}. Name the one to use: trimtab init FILE --label COLUMN --time COLUMN")


def _known(columns: list[str], wanted: str, option: str) -> str:
    if wanted in columns:
        return wanted
    near = difflib.get_close_matches(wanted, columns, 1)
    hint = f"; did you mean {near[0]!r}" if near else ""
    raise Refused(f"{option} {wanted!r}: no such column{hint}. The columns are: {', '.join(columns)}")


def _label(columns: list[str], wanted: str | None, taken: list[str]) -> str:
    if wanted is not None:
        return _known(columns, wanted, "--label")
    for usual in ("label", "target", "y", "class"):
        if usual in columns:
            return usual
    free = [column for column in columns if column not in taken]
    raise Refused(f"which column shall be predicted? Add --label COLUMN, one of: {', '.join(free)}")


def _time(frame: pd.DataFrame, columns: list[str], wanted: str | None) -> tuple[str, list[str]]:
    if wanted is not None:
        found = _known(columns, wanted, "--time")
        form = _format(frame[found], found)
        return f"{{column: {_quoted(found)}{f', format: {_quoted(form)}' if form else ''}}}", [found]
    lower = {column.lower(): column for column in columns}
    if "year" in lower:
        parts = {part: lower[part] for part in ("year", "month", "day") if part in lower}
        return "{" + ", ".join(f"{part}: {_quoted(column)}" for part, column in parts.items()) + "}", list(
            parts.values()
        )
    for column in columns:
        if _holds_times(frame[column]):
            return f"{{column: {_quoted(column)}}}", [column]
    raise Refused(f"which column says when a row happened? Add --time COLUMN, one of: {', '.join(columns)}")


def _format(values: pd.Series, name: str) -> str:
    """The format of a column that a person calls a time, "" for ISO 8601; raises Refused if none fits all values."""
    import pandas as pd

    if _holds_times(values):
        return ""
    there = values.dropna()
    if there.empty:
        raise Refused(f"--time {name!r}: the column is empty. Name another one")
    if pd.api.types.is_numeric_dtype(values):
        for form, (least, most) in _UNIX.items():
            if there.between(least, most).all():
                return form
    text = there.astype(str)
    fitting = [form for form in _FORMATS if pd.to_datetime(text, format=form, errors="coerce").notna().all()]
    if len(fitting) == 1:
        return fitting[0]
    said = f"could be {' or '.join(fitting)}" if fitting else "is in no format that trimtab knows"
    raise Refused(
        f"--time {name!r}: {text.iloc[0]!r} {said}. Write data.time yourself, such as "
        f"{{column: {_quoted(name)}, format: '%d.%m.%Y %H:%M'}}: copy the rest from docs/loop-yaml.md, or make the "
        "column ISO 8601 (2024-03-31 18:00)"
    )


def _holds_times(values: pd.Series) -> bool:
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(values):
        return True
    if pd.api.types.is_numeric_dtype(values) or values.dropna().empty:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(pd.to_datetime(values.dropna().head(200), errors="coerce", format="ISO8601").notna().all())


def _problem(values: pd.Series) -> str:
    import pandas as pd

    numbers = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    whole = numbers and bool((values.dropna() % 1 == 0).all())
    return "regression" if numbers and not (whole and values.nunique() <= 20) else "classification"


def _identifier(frame: pd.DataFrame, columns: list[str], label: str, taken: list[str]) -> str | None:
    for column in columns:
        named = column.lower() in ("id", "uuid", "key") or column.lower().endswith("_id")
        if named and column != label and frame[column].is_unique and frame[column].notna().all():
            return column
    for column in columns:  # text that names each row anew, whatever its name
        text = frame[column].dtype == object and column not in (label, *taken)
        text = text and not dressed_number(frame[column].dropna().astype(str))
        if text and len(frame) >= _LEAST_IDENTIFIERS and frame[column].is_unique and frame[column].notna().all():
            return column
    return None


def _loop_name(wanted: str | None, folder: Path, source: Path) -> str:
    raw = wanted or source.name.partition(".")[0] or folder.resolve().name
    name = re.sub(r"[^a-z0-9-]+", "-", raw.lower()).strip("-")[:63].rstrip("-")
    return name or "model"


def _quoted(text: str) -> str:
    if not text.isprintable():
        return json.dumps(text)
    plain = re.fullmatch(r"[A-Za-z_][\w./-]*", text) and text.lower() not in (
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "null",
    )
    return text if plain else "'" + text.replace("'", "''") + "'"
