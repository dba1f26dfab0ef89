"""The different values of a text column, each looked at once however often it comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_CHANGED = str.maketrans(".,", ",.")


@dataclass(frozen=True)
class Distinct:
    """The different values of a text column, how often each comes, and which value each row has (-1: missing)."""

    values: list[str]
    counts: np.ndarray
    codes: np.ndarray
    written: list[str]  # as the file has them: they differ from `values` where numbers have a decimal comma

    @classmethod
    def of(cls, column: pa.ChunkedArray, decimal: str = ".") -> Distinct:
        """Of a column of strings with nulls; with a decimal comma, points and commas change places in `values`."""
        encoded = pc.dictionary_encode(column.combine_chunks())
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        written = encoded.dictionary.to_pylist()
        values = written if decimal == "." else [text.translate(_CHANGED) for text in written]
        return cls(values, np.bincount(codes[codes >= 0], minlength=len(written)), codes, written)

    def first(self, chosen: np.ndarray) -> int:
        """The first row whose value is among the chosen ones (a mask over `values`)."""
        return int(np.flatnonzero(np.append(chosen, False)[self.codes])[0])

    def take(self, values: np.ndarray, missing: object) -> np.ndarray:
        """One value a row out of one a distinct value."""
        return np.asarray(np.append(values, np.array([missing], dtype=values.dtype))[self.codes])

    def matches(self, pattern: str) -> np.ndarray:
        """Which distinct values match a regular expression."""
        if not self.values:
            return np.zeros(0, dtype=bool)
        found = pc.match_substring_regex(pa.array(self.values, pa.string()), pattern)
        return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)
