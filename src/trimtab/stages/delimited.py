"""Reading a delimited text file as text: nothing is guessed, nothing is repaired, every fault has its line.

Arrow's parser gives the values; Python's csv module is asked only to say on which line a fault is.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from trimtab.errors import DataRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trimtab.spec.data import Source

LARGEST_FILE = 4 * 1024**3
"""Bytes of one text file, unpacked; beyond this Parquet or a DuckDB query is the right way."""
LONGEST_FIELD = 131_072
"""Characters in one field: the csv module's own limit, so that both parsers agree."""
_LARGEST_BLOCK = 64 * 1024**2


def read_delimited(path: Path, source: Source) -> pa.Table:
    """Every column as string, missing values (`source.missing`, quoted or not) as null, rows in file order.

    Raises DataRefused with file and line for bad encoding, NUL bytes, ragged rows, unclosed quotes, huge fields,
    repeated or empty column names, and a file without rows.
    """
    text = read_text(path, source.encoding)
    names = _header(path, text, source.delimiter)
    try:
        table = _parsed(text, source, names, source.missing)
    except pa.ArrowInvalid as error:
        _raise_first_fault(path, text, names, source.delimiter)
        raise DataRefused(f"{path.name}: this cannot be read as delimited text: {error}. Mend the file.") from error
    if text.count('"') % 2 or any(_longest(column) > LONGEST_FIELD for column in table.columns):
        _raise_first_fault(path, text, names, source.delimiter)
    if table.num_rows == 0:
        raise DataRefused(f"{path.name}: the file has a header but no rows. Give a file with at least one row.")
    return table


def as_written(path: Path, source: Source, column: str) -> pa.ChunkedArray:
    """One column of a file that `read_delimited` took, with its missing marks as the file spells them."""
    text = read_text(path, source.encoding)
    return _parsed(text, source, _header(path, text, source.delimiter), (), column).column(column)


def _parsed(text: str, source: Source, names: list[str], missing: tuple[str, ...], only: str | None = None) -> pa.Table:
    data = text.encode("utf-8")
    return pa.csv.read_csv(
        pa.BufferReader(data),
        read_options=pa.csv.ReadOptions(block_size=min(max(len(data), 1024), _LARGEST_BLOCK)),
        parse_options=pa.csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=list(missing),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            include_columns=[only] if only is not None else None,
        ),
    )


def line_of_record(path: Path, source: Source, record: int) -> int:
    """The line on which data record `record` (0-based, header not counted) starts; for messages only."""
    for index, (line, _) in enumerate(_records(read_text(path, source.encoding), source.delimiter)):
        if index == record + 1:
            return line
    return 0


def read_text(path: Path, encoding: str) -> str:
    """The whole file, unpacked and decoded, without byte order mark."""
    data = read_bytes(path)
    try:
        name = codecs.lookup(encoding).name
        if name == "utf-8":
            _refuse_other_unicode(path, data)
            name = "utf-8-sig"
        text = data.decode(name)
    except LookupError:
        raise DataRefused(
            f"data.source.encoding: {encoding!r} is no text encoding that Python knows; try utf-8, cp1252 or utf-16."
        ) from None
    except UnicodeError as error:
        raise DataRefused(_undecodable(path, data, encoding, error)) from error
    nul = text.find("\0")
    if nul >= 0:
        raise DataRefused(
            f"{path.name} line {_line_at(text, nul)}: a NUL byte, which text cannot hold. "
            "The file is damaged, binary, or in another encoding: say `data.source.encoding: utf-16`, or mend it."
        )
    return text


def read_bytes(path: Path) -> bytes:
    """The file's bytes, gzip unpacked; raises DataRefused when it is missing, broken or beyond LARGEST_FILE."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            data = stream.read(LARGEST_FILE + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataRefused(f"{path.name}: the gzip file is broken or cut short ({error}). Fetch it again.") from error
    except OSError as error:
        raise DataRefused(
            f"{path}: cannot be read: {error.strerror or error}. Check the path and its rights."
        ) from error
    if len(data) > LARGEST_FILE:
        raise DataRefused(
            f"{path.name}: more than {LARGEST_FILE // 1024**3} GiB of text. Store it as Parquet, or read a part by "
            "`data.source.query`."
        )
    return data


def _header(path: Path, text: str, delimiter: str) -> list[str]:
    first = next(_records(text, delimiter), None)
    if first is None:
        raise DataRefused(f"{path.name}: the file is empty; expected a header line and rows.")
    names = first[1]
    for position, name in enumerate(names):
        if not name.strip():
            raise DataRefused(f"{path.name} line {first[0]}: column {position + 1} has no name. Name it in the header.")
        if name in names[:position]:
            raise DataRefused(
                f"{path.name} line {first[0]}: the header names {name!r} twice (columns {names.index(name) + 1} "
                f"and {position + 1}). Rename one."
            )
    return names


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it starts, fields) of every record that is not an empty line; may raise csv.Error."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    start = 1
    for fields in reader:
        if fields:
            yield start, fields
        start = reader.line_num + 1


def _raise_first_fault(path: Path, text: str, names: list[str], delimiter: str) -> None:
    """Raise DataRefused for the first record that is ragged, unclosed or too long; return if there is none."""
    line = 1
    try:
        for line, fields in _records(text, delimiter):
            if len(fields) != len(names):
                raise DataRefused(_ragged(path, line, fields, names))
    except csv.Error as error:
        raise DataRefused(
            f"{path.name} after line {line}: {error}: at most {LONGEST_FIELD} characters are taken. "
            "A quote may have been opened and never closed; mend the file."
        ) from error
    tail = fields[-1] if fields else ""
    if text.count('"') % 2 and ("\n" in tail or not text.rstrip("\r\n").endswith('"')) and _unclosed(text, delimiter):
        raise DataRefused(f"{path.name} line {line}: a quote is opened and never closed. Close it.")


def _unclosed(text: str, delimiter: str) -> bool:
    """True when the text ends inside a quoted field."""
    try:
        for _ in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def likely_delimiter(header: str) -> str:
    """The delimiter that splits a header line into the most columns; a comma if none does."""
    return max(",;\t|", key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _ragged(path: Path, line: int, fields: list[str], names: list[str]) -> str:
    likely = likely_delimiter(names[0]) if len(names) == 1 else ","
    if likely != "," and likely in names[0]:
        return (
            f"{path.name} line 1: the header is one column, {names[0][:60]!r}, as it holds no delimiter. "
            f"Say `data.source.delimiter: {json.dumps(likely)}`."
        )
    found = f"{path.name} line {line}: {len(fields)} values, but the header names {len(names)} columns"
    if "\n" in fields[-1]:
        return f"{found}. A quote opened there may never have been closed; mend that line."
    return f"{found}. Mend that line; a value that holds the delimiter needs double quotes."


def _longest(column: pa.ChunkedArray) -> int:
    return int(pc.max(pc.utf8_length(column)).as_py() or 0)


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _refuse_other_unicode(path: Path, data: bytes) -> None:
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if data.startswith(mark):
            raise DataRefused(f"{path.name}: the file starts as {name} does. Say `data.source.encoding: {name}`.")


def _undecodable(path: Path, data: bytes, encoding: str, error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return f"{path.name}: cannot be read as {encoding}: {error}. Say the right one in `data.source.encoding`."
    # utf-8-sig counts offsets after the mark
    shift = 3 if error.encoding == "utf-8" and data.startswith(codecs.BOM_UTF8) else 0
    offset = error.start + shift
    line = data.count(b"\n", 0, offset) + 1
    hint = (
        "cp1252 (Windows) or latin-1" if encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii"} else "utf-8"
    )
    return (
        f"{path.name} line {line}: byte 0x{data[offset]:02x} at offset {offset} is not {encoding}. "
        f"If the file is in another encoding, say so in `data.source.encoding`, such as {hint}; else mend that byte."
    )
