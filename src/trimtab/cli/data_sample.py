"""The first rows of a data file for `trimtab init`, and how the file seems to be written."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import Refused
from trimtab.spec.data import MARKS
from trimtab.stages.delimited import likely_delimiter

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 5000
_LOOKED_AT = 1 << 20  # bytes
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Sample:
    """The first rows, and the keys of `data.source` beside the path that a run needs to read them so."""

    frame: pd.DataFrame
    source: Path
    written: dict[str, Any]

    def texts(self, column: str) -> pd.Series:
        """How every row of a text file spells this column; no rows for a Parquet file."""
        import pandas as pd

        if self.source.suffix == ".parquet":
            return pd.Series([], dtype=object)
        return _read(self.source, self.written, usecols=[column], dtype=str, na_values=[], nrows=None)[column]


def sample(source: Path) -> Sample:
    """The first rows of a CSV or Parquet file.

    Raises Refused for a file that is not there, cannot be read, or has no rows.
    """
    import pandas as pd

    if not source.is_file():
        raise Refused(f"{source}: no such file. Give the path of a CSV or Parquet file")
    written: dict[str, Any] = {}
    try:
        if source.suffix == ".parquet":
            frame = pd.read_parquet(source)
        else:
            written = _written(source)
            frame = _read(source, written)
            if _decimal_commas(frame, written):
                written["decimal"] = ","
                frame = _read(source, written)
    except (ValueError, OSError, EOFError, csv.Error, zlib.error) as error:
        kind = "parquet" if source.suffix == ".parquet" else "delimited text"
        raise Refused(f"{source}: cannot be read as {kind}: {error}. Give a CSV or Parquet file") from error
    if frame.empty:
        raise Refused(f"{source}: no rows")
    return Sample(frame, source, written)


def _read(source: Path, written: dict[str, Any], **how: Any) -> pd.DataFrame:
    """As a run reads it: the marks of `data.source.missing`, and no others, are missing values."""
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(
        source,
        sep=written.get("delimiter", ","),
        encoding=written.get("encoding", "utf-8"),
        decimal=written.get("decimal", "."),
        keep_default_na=False,
        index_col=False,
        **{"nrows": _ROWS, "na_values": list(MARKS), **how},
    )
    return frame


def _decimal_commas(frame: pd.DataFrame, written: dict[str, Any]) -> bool:
    """Whether a column's values are all numbers with a comma; where commas also part columns, not thousands."""
    for name in frame.select_dtypes(object):
        values = frame[name].dropna().astype(str).str.strip()
        commas = values.str.fullmatch(r"[-+]?[0-9]+,[0-9]+")
        thousands = values[commas].str.fullmatch(r"[-+]?[0-9]{1,3},[0-9]{3}").all()
        numbers = commas.any() and (commas | values.str.fullmatch(r"[-+]?[0-9]+")).all()
        if numbers and ("delimiter" in written or not thousands):
            return True
    return False


def _written(source: Path) -> dict[str, Any]:
    """`encoding` and `delimiter` of a text file, as far as they are not UTF-8 and a comma; raises Refused for bytes."""
    with gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb") as lines:
        start = lines.read(_LOOKED_AT)
    encoding = "utf-16" if start.startswith(_BOMS) else "utf-8"
    if encoding == "utf-8" and b"\0" in start:
        raise Refused(f"{source}: is a binary file (it holds NUL bytes). Give a CSV or Parquet file")
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        encoding = "cp1252"  # what spreadsheets save where no other code page is set
        text = start.decode(encoding, "replace")
    header = re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"), maxsplit=1)[0]
    guessed = {"encoding": encoding, "delimiter": likely_delimiter(header)}
    return {key: value for key, value in guessed.items() if value not in ("utf-8", ",")}
