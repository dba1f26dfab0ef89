"""Labels in a file: all of them or none, with the line of what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS
from trimtab.cli.labels import take
from trimtab.errors import DataRefused
from trimtab.spec.data import Source
from trimtab.spec.generate import SMALLEST
from trimtab.stages.labelfile import read

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def _read(path: Path, time: str | None = None, numbers: bool = False) -> list[dict[str, object]]:
    return read(path, id_column="id", label_column="y", time_column=time, now=NOW, numbers=numbers)


def _csv(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_rows_become_records_of_the_log(tmp_path: Path) -> None:
    found = _read(_csv(tmp_path, "id,y,at\n007,1,2026-04-30 10:00\nb,two words,2026-04-30T12:00:00+02:00\n"), "at")
    assert [(one["id"], one["label"], one["source"]) for one in found] == [
        ("007", "1", "file"),
        ("b", "two words", "file"),
    ]
    assert [datetime.fromisoformat(str(one["time"])) for one in found] == [datetime(2026, 4, 30, 10, tzinfo=UTC)] * 2
    without = _read(_csv(tmp_path, "id,y\na,1\n"))
    assert without[0]["time"] == NOW.isoformat()


def test_parquet_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    pd.DataFrame({"id": [1, 2], "y": [True, False]}).to_parquet(path)
    assert [(one["id"], one["label"]) for one in _read(path)] == [("1", "True"), ("2", "False")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,label\na,1\n", "no column 'y'.*--label"),
        ("id,y\na,1\n,2\n", "line 3: no id"),
        ("id,y\na,\n", "line 2: no y"),
        ("id,y,at\na,1,soon\n", "line 2"),
        ("id,y,at\na,1,2027-01-01\n", "future"),
        ("id,y\na,1,2\n", "line 2"),
        ("id,y\n", "no rows"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataRefused, match=said):
        _read(_csv(tmp_path, text), "at" if "at" in text.splitlines()[0].split(",") else None)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataRefused, match=r"labels\.csv: no such file"):
        _read(tmp_path / "labels.csv")


def test_where_a_number_is_predicted_labels_are_numbers(tmp_path: Path) -> None:
    assert _read(_csv(tmp_path, "id,y\na,1.5\nb,-2e3\n"), numbers=True)
    for word in ("abc", "nan", "1e999"):
        with pytest.raises(DataRefused, match="line 2: y is"):
            _read(_csv(tmp_path, f"id,y\na,{word}\n"), numbers=True)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("stated", ["cp1252", "utf-16"])
def test_a_file_is_read_as_the_source_is_or_as_it_shows_itself(
    tmp_path: Path, encoding: str, mark: str, stated: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(f"id{mark}Rückgabe\na{mark}ja, spät\n".replace(", " if mark == "," else "", "").encode(encoding))
    how = {"id_column": "id", "label_column": "Rückgabe", "time_column": None, "now": NOW, "numbers": False}
    like = Source(path="rows.csv", encoding=stated, delimiter=";")
    if (encoding, stated) == ("cp1252", "utf-16"):
        with pytest.raises(DataRefused, match="labels"):
            read(path, **how, like=like)  # type: ignore[arg-type]
        return
    found = read(path, **how, like=like)  # type: ignore[arg-type]
    assert [one["label"] for one in found] == ["jaspät" if mark == "," else "ja, spät"]


def test_another_encoding_than_the_source_is_said(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("id,y\na,spät\n".encode("cp1252"))
    with pytest.raises(DataRefused, match=r"line 2: byte 0xe4 is not utf-8.*Save the labels as UTF-8"):
        _read(path)


def test_decimal_and_missing_are_those_of_the_source(tmp_path: Path) -> None:
    like = Source(path="rows.csv", delimiter=";", decimal=",", missing=("-",))
    how = {"id_column": "id", "label_column": "y", "time_column": None, "now": NOW, "numbers": True, "like": like}
    found = read(_csv(tmp_path, "id;y\na;1,5\nb;2\n"), **how)  # type: ignore[arg-type]
    assert [one["label"] for one in found] == ["1.5", "2"]
    with pytest.raises(DataRefused, match=r"line 2: y is '1\.5'.*Write a comma"):
        read(_csv(tmp_path, "id;y\na;1.5\n"), **how)  # type: ignore[arg-type]
    with pytest.raises(DataRefused, match="line 2: no y"):
        read(_csv(tmp_path, "id;y\na;-\n"), **how)  # type: ignore[arg-type]


def test_the_command_reads_as_its_document_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop.yaml"
    loop.write_text(SMALLEST.replace("{path: orders.csv}", "{path: orders.csv, encoding: cp1252, delimiter: ';'}"))
    labels = tmp_path / "labels.csv"
    labels.write_bytes("id;fraud\nä;yes\n".encode("cp1252"))
    take(labels, loop, None, (None, None, None), as_json=False)
    assert "1 labels of 1 predictions" in capsys.readouterr().out


def test_the_command_adds_to_the_log_and_the_same_file_twice_does_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = tmp_path / "loop.yaml"
    loop.write_text(SMALLEST)
    labels = _csv(tmp_path, "id,fraud\n" + "".join(f"r{number},no\n" for number in range(12_000)))
    for _ in range(2):
        take(labels, loop, None, (None, None, None), as_json=False)
    assert "12,000 labels of 12,000 predictions" in capsys.readouterr().out
    folder = RecordFolder(tmp_path / ".trimtab/labels", LABELS)
    found = folder.read(datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
    assert found.num_rows == 24_000
    assert set(found["source"].to_pylist()) == {"file"}
    folder.compact()
    assert folder.read(datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)).num_rows == 24_000
