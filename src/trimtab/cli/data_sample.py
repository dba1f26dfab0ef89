"""The first rows of a data file for `trimtab init`, and how the file seems to be written."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import Refused
from trimtab.stages.delimited import likely_delimiter

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 5000
_LOOKED_AT = 1 << 20  # bytes
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def sample(source: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """The first rows, and the keys of `data.source` beside the path that a run needs to read them so.

    Raises Refused for a file that is not there, cannot be read, or has no rows.
    """
    import pandas as pd

    if not source.is_file():
        raise Refused(f"{source}: no such file. Give the path of a CSV or Parquet file")
    written: dict[str, str] = {}
    try:
        if source.suffix == ".parquet":
            frame = pd.read_parquet(source)
        else:
            written = _written(source)
            frame = pd.read_csv(
                source, nrows=_ROWS, sep=written.get("delimiter", ","), encoding=written.get("encoding", "utf-8")
            )
    except (ValueError, OSError, EOFError) as error:
        raise Refused(f"{source}: cannot be read as {source.suffix.lstrip('.')}: {error}") from error
    if frame.empty:
        raise Refused(f"{source}: no rows")
    return frame, written


def _written(source: Path) -> dict[str, str]:
    """`encoding` and `delimiter` of a text file, as far as they are not UTF-8 and a comma."""
    with gzip.open(source, "rb") if source.suffix == ".gz" else source.open("rb") as lines:
        start = lines.read(_LOOKED_AT)
    encoding = "utf-16" if start.startswith(_BOMS) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        encoding = "cp1252"  # what spreadsheets save where no other code page is set
        text = start.decode(encoding, "replace")
    delimiter = likely_delimiter(text.removeprefix("\ufeff").partition("\n")[0].rstrip("\r"))
    guessed = {"encoding": encoding, "delimiter": delimiter}
    return {key: value for key, value in guessed.items() if value not in ("utf-8", ",")}
