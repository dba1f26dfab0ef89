"""data.source.path in an S3-compatible store: the same rows and the same sentences as from files."""

from __future__ import annotations

import gzip
import io
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from s3_process import KEYS, S3Server

from trimtab.errors import DataRefused, TrimtabError
from trimtab.spec.data import Data
from trimtab.stages.ingest import read_all

_CSV = "at,x,y\n2020-01-0{n},{n}.5,a\n2020-02-0{n},,b\n"


def _data(path: str, **source: str) -> Data:
    return Data.model_validate({"source": {"path": path, **source}, "time": {"column": "at"}, "label": {"column": "y"}})


def _rows(path: str, folder: Path, **source: str) -> pd.DataFrame:
    return read_all(_data(path, **source), folder)


def _put(s3: S3Server, name: str, number: int = 1) -> None:
    text = _CSV.format(n=number).encode()
    if name.endswith(".gz"):
        text = gzip.compress(text)
    if name.endswith(".parquet"):
        buffer = io.BytesIO()
        pd.read_csv(io.BytesIO(text)).to_parquet(buffer)
        text = buffer.getvalue()
    s3.put(name, text)


@pytest.mark.parametrize("name", ["rows.csv", "deep/er/rows.csv.gz", "rows.parquet", "odd na+me%20é#1.csv"])
def test_rows_are_those_of_the_same_file_here(s3: S3Server, bucket: str, tmp_path: Path, name: str) -> None:
    _put(s3, f"{bucket}/{name}")
    (tmp_path / "rows.csv").write_text(_CSV.format(n=1))
    found = _rows(f"s3://{bucket}/{name}", tmp_path)
    here = _rows("rows.csv", tmp_path)
    columns = ["x", "y", "_time"]
    pd.testing.assert_frame_equal(found[columns], here[columns])


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("part-*.csv", [1, 2]),
        ("part-[1].csv", [1]),
        ("part-[!1].csv", [2]),
        ("part-?.csv", [1, 2]),
        ("**/part-*.csv", [1, 2, 3, 4]),
        ("deep/**/*.csv", [3, 4]),
        ("deep/*.csv", [3]),
        ("d*p/*.csv", [3]),
    ],
)
def test_a_glob_means_what_it_means_for_files(
    s3: S3Server, bucket: str, tmp_path: Path, pattern: str, wanted: list[int]
) -> None:
    for number, name in enumerate(("part-1.csv", "part-2.csv", "deep/part-1.csv", "deep/er/part-2.csv"), 1):
        _put(s3, f"{bucket}/in/{name}", number)
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_CSV.format(n=number))
    found = [int(value) for value in _rows(f"s3://{bucket}/in/{pattern}", tmp_path)["x"].dropna()]
    assert found == wanted
    assert found == [int(value) for value in _rows(f"in/{pattern}", tmp_path)["x"].dropna()]


def test_a_fault_in_an_object_has_its_name_and_line(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    s3.put(f"{bucket}/in/bad.csv", b"at,x,y\n2020-01-01,1,a\n2020-01-02,two,b\n2020-01-03,3,a,z\n")
    with pytest.raises(DataRefused, match=r"bad\.csv line 4"):
        _rows(f"s3://{bucket}/in/bad.csv", tmp_path)
    s3.put(f"{bucket}/in/late.csv", b"at,x,y\n2020-01-01,1,a\nno day,2,b\n")
    with pytest.raises(DataRefused, match=r"late\.csv line 3"):
        _rows(f"s3://{bucket}/in/late.csv", tmp_path)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://{bucket}/in/rosw.csv", r"no object .*nearest: 's3://{bucket}/in/rows\.csv'"),
        ("s3://{bucket}/in", r"is a folder\. Name its files by a glob, such as s3://{bucket}/in/\*\.csv"),
        ("s3://{bucket}", "is a folder"),
        ("s3://{bucket}/in/*.parquet", "no object matches"),
        ("s3://{bucket}/../other/x.csv", "empty part"),
        ("s3://key:top-secret@{bucket}/x.csv", "credentials"),
        ("s3://{bucket}/in/rows", "no object"),
    ],
)
def test_what_names_nothing_is_refused_with_what_to_do(
    s3: S3Server, bucket: str, tmp_path: Path, path: str, words: str
) -> None:
    _put(s3, f"{bucket}/in/rows.csv")
    with pytest.raises(DataRefused, match=words.format(bucket=bucket)) as caught:
        _rows(path.format(bucket=bucket), tmp_path)
    assert str(caught.value).startswith("data.source.path: ")
    assert "top-secret" not in str(caught.value)


def test_a_store_that_is_down_is_no_fault_of_the_data(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    s3.gate.shut()
    try:
        with pytest.raises(TrimtabError, match=r"data\.source\.path: .*NETWORK_CONNECTION.*AWS_ENDPOINT_URL") as caught:
            _rows(f"s3://{bucket}/in/rows.csv", tmp_path)
    finally:
        s3.gate.open()
    assert not isinstance(caught.value, DataRefused)
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)


def test_nothing_that_was_brought_here_stays(
    s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _put(s3, f"{bucket}/rows.csv")
    assert len(_rows(f"s3://{bucket}/rows.csv", tmp_path)) == 2
    s3.put(f"{bucket}/bad.csv", b"\xff\xfe")
    with pytest.raises(DataRefused):
        _rows(f"s3://{bucket}/bad.csv", tmp_path)
    assert list(tmp_path.iterdir()) == []
