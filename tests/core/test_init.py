"""`trimtab init` writes a loop.yaml that is right for the data, or says what to add."""

from pathlib import Path

import pytest
import yaml

from trimtab.cli.init import write
from trimtab.errors import Refused
from trimtab.spec import ModelLoop
from trimtab.stages.ingest import read_all

_CSV = "order_id,at,amount,country,fraud\n" + "".join(
    f"{n},2024-01-{1 + n % 28:02d}T10:00:00,{n * 1.5},{'NO' if n % 2 else 'SE'},{'yes' if n % 7 == 0 else 'no'}\n"
    for n in range(60)
)


def _written(folder: Path) -> ModelLoop:
    return ModelLoop.model_validate(yaml.load((folder / "loop.yaml").read_text(), yaml.BaseLoader))  # strings only


def test_the_time_column_and_the_id_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "orders.csv").write_text(_CSV)
    write(None, "fraud", None, "fraud", tmp_path)
    spec = _written(tmp_path).spec
    assert (spec.scope.problem, spec.data.label.column, spec.data.time.column, spec.data.id) == (
        "classification",
        "fraud",
        "at",
        "order_id",
    )
    assert spec.data.source.path == "orders.csv"
    assert "trimtab run" in capsys.readouterr().out


def test_a_number_is_a_regression(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(_CSV)
    write(tmp_path / "orders.csv", "amount", "at", None, tmp_path)
    assert _written(tmp_path).spec.scope.problem == "regression"


@pytest.mark.parametrize(
    ("scale", "worse_by", "worse_than_holdout_by"),
    [(1.0, "0.52", "1.3"), (1000.0, "520", "1300"), (1e-6, "0.00000052", "0.0000013"), (0.0, None, None)],
)
def test_how_much_worse_a_regression_may_be_is_in_the_unit_of_its_label(
    tmp_path: Path, scale: float, worse_by: str | None, worse_than_holdout_by: str | None
) -> None:
    lines = [f"2024-01-{1 + n % 28:02d},{0.5 * scale + scale * n * 1.5!r},{n}" for n in range(60)]
    (tmp_path / "d.csv").write_text("\n".join(["at,y,x", *lines]))
    if scale == 0:  # all alike: a regression, as it is no whole number
        (tmp_path / "d.csv").write_text("at,y,x\n" + "2024-01-01,0.5,1\n" * 60)
    write(None, "y", "at", None, tmp_path)
    text, spec = (tmp_path / "loop.yaml").read_text(), _written(tmp_path).spec
    assert spec.scope.problem == "regression"
    if worse_by is None:
        assert "worseBy" not in text
        return
    assert f"{{worseBy: {worse_by}}}" in text
    assert f"worseThanHoldoutBy: {worse_than_holdout_by} " in text
    assert spec.release.roll_back_when.worse_by == float(worse_by)
    assert spec.retraining.worse_than_holdout_by == float(str(worse_than_holdout_by))


def test_a_classification_keeps_the_usual_margins(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(_CSV)
    write(None, "fraud", None, None, tmp_path)
    assert "worse" not in (tmp_path / "loop.yaml").read_text()


def test_year_month_and_day_make_a_time(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("Year,Month,Day,y,x\n" + "2020,1,2,a,1\n2020,1,3,b,2\n" * 10)
    write(None, "y", None, None, tmp_path)
    time = _written(tmp_path).spec.data.time
    assert (time.year, time.month, time.day, time.column) == ("Year", "Month", "Day", None)


@pytest.mark.parametrize(
    ("cells", "format_"),
    [
        (["31.03.2024 18:00", "01.04.2024 06:30"], "%d.%m.%Y %H:%M"),
        (["03/31/2024", "04/01/2024"], "%m/%d/%Y"),
        (["1711908000", "1711944000"], "unix"),
        (["1711908000123", "1711944000456"], "unix_ms"),
        (["2024-03-31 18:00", "2024-04-01 06:30"], None),
    ],
)
def test_how_times_are_written_is_found(tmp_path: Path, cells: list[str], format_: str | None) -> None:
    rows = "".join(f"{cells[number % 2]},{'ab'[number % 2]},{number}\n" for number in range(20))
    (tmp_path / "d.csv").write_text(f"when,y,x\n{rows}")
    write(None, "y", "when", None, tmp_path)
    loop = _written(tmp_path)
    assert loop.spec.data.time.format == format_
    frame = read_all(loop.spec.data, tmp_path)
    assert {f"{time:%Y-%m-%d}" for time in frame["_time"]} == {"2024-03-31", "2024-04-01"}


@pytest.mark.parametrize(
    ("cell", "sentence"), [("01/02/2024", "could be %d/%m/%Y or %m/%d/%Y"), ("noon", "in no format that trimtab knows")]
)
def test_times_that_could_mean_two_things_are_asked_about(tmp_path: Path, cell: str, sentence: str) -> None:
    (tmp_path / "d.csv").write_text("when,y,x\n" + f"{cell},a,1\n{cell},b,2\n" * 10)
    with pytest.raises(Refused, match=sentence):
        write(None, "y", "when", None, tmp_path)


def test_reserved_columns_are_named_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("_id,when,y\n" + "1,2024-01-01,a\n" * 10)
    with pytest.raises(Refused, match=r"'_id'.*Rename it in d\.csv"):
        write(None, "y", "when", None, tmp_path)
    assert not (tmp_path / "loop.yaml").exists()


def test_names_that_yaml_would_misread_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "my data: 1.csv").write_text("on,it's,no\n" + "2020-01-02,a,1\n" * 10)
    write(None, "it's", "on", None, tmp_path)
    spec = _written(tmp_path).spec
    assert (spec.data.time.column, spec.data.label.column, spec.data.source.path) == ("on", "it's", "my data: 1.csv")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((None, None, None), "which column shall be predicted"),
        ((None, "frad", None), "did you mean 'fraud'"),
        ((None, "fraud", "when"), "--time 'when': no such column"),
        ((Path("missing.csv"), "fraud", None), "no such file"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, arguments: tuple[Path | None, str | None, str | None], sentence: str
) -> None:
    (tmp_path / "orders.csv").write_text(_CSV)
    with pytest.raises(Refused, match=sentence):
        write(*arguments, None, tmp_path)
    assert not (tmp_path / "loop.yaml").exists()


def test_an_existing_document_is_kept(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(_CSV)
    (tmp_path / "loop.yaml").write_text("mine\n")
    with pytest.raises(Refused, match="exists already"):
        write(None, "fraud", None, None, tmp_path)
    assert (tmp_path / "loop.yaml").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("encoding", "delimiter", "shown"),
    [
        ("cp1252", ";", "encoding 'cp1252', delimiter ';'"),
        ("utf-8-sig", "\t", "delimiter '\\t'"),
        ("utf-16", ",", "16"),
    ],
)
def test_how_a_spreadsheet_wrote_the_file_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str, delimiter: str, shown: str
) -> None:
    lines = ["wann,größe,y", *(f"2024-01-{1 + n % 28:02d},{n % 9},{'ü' if n % 2 else 'ö'}" for n in range(60))]
    (tmp_path / "d.csv").write_text("\r\n".join(lines).replace(",", delimiter), encoding)
    write(None, "y", "wann", None, tmp_path)
    data = _written(tmp_path).spec.data
    assert list(read_all(data, tmp_path)["y"].unique()) == ["ö", "ü"]
    assert shown in capsys.readouterr().out


_DAYS = [f"2024-01-{1 + n % 28:02d}" for n in range(60)]


def test_a_class_that_looks_like_a_missing_mark_is_kept_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{day},{['EU', 'NA', 'AS'][n % 3]},{n}\n" for n, day in enumerate(_DAYS))
    (tmp_path / "d.csv").write_text(f"at,region,x\n{rows}")
    write(None, "region", "at", None, tmp_path)
    data = _written(tmp_path).spec.data
    assert set(read_all(data, tmp_path)["region"]) == {"EU", "NA", "AS"}
    assert "20 of 60 rows have the region 'NA': it is taken as a class" in capsys.readouterr().out


def test_a_mark_that_other_columns_use_too_stays_one_and_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{day},{['EU', 'NA', ''][n % 3]},{'NA' if n % 9 == 0 else n}\n" for n, day in enumerate(_DAYS))
    (tmp_path / "d.csv").write_text(f"at,region,x\n{rows}")
    write(None, "region", "at", None, tmp_path)
    assert "NA" in _written(tmp_path).spec.data.source.missing
    said = capsys.readouterr().out
    assert "20 of 60 rows have the region 'NA', which means missing" in said
    assert "20 of 60 rows have no 'region'" in said


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_old_line_ends_are_read_as_a_run_reads_them(tmp_path: Path, end: str) -> None:
    lines = ["at,y,x", *(f"{day},{'ab'[n % 2]},{n}" for n, day in enumerate(_DAYS))]
    (tmp_path / "d.csv").write_bytes(end.join(lines).encode())
    write(None, "y", "at", None, tmp_path)
    assert len(read_all(_written(tmp_path).spec.data, tmp_path)) == 60


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x7fELF\x02\x01\x01\x00\x00" + bytes(range(256)) * 40, "binary file"),
        (bytes(range(1, 256)) * 40, "cannot be read as delimited text|which column"),
        (b"PK\x03\x04" + b"\x14\x00\x06\x00" * 500, "binary file"),
        (b"", "No columns"),
    ],
)
def test_what_is_no_text_is_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "d.csv").write_bytes(content)
    with pytest.raises(Refused, match=sentence):
        write(None, "y", "at", None, tmp_path)


def test_decimal_commas_are_found_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{day};{'ab'[n % 2]};{n},25;1.{n % 12 + 1}.2024\n" for n, day in enumerate(_DAYS))
    (tmp_path / "d.csv").write_text(f"at;y;x;due\n{rows}")
    write(None, "y", "at", None, tmp_path)
    data = _written(tmp_path).spec.data
    frame = read_all(data, tmp_path).sort_values("x")
    assert (data.source.decimal, frame["x"].iloc[1], frame["due"].iloc[1]) == (",", 1.25, "1.2.2024")
    assert "decimal ','" in capsys.readouterr().out


def test_numbers_that_will_be_read_as_text_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f'{day},{"ab"[n % 2]},{n}.5%,"$1,{n + 100}",1 {n + 100},X-{n}\n' for n, day in enumerate(_DAYS))
    (tmp_path / "d.csv").write_text(f"at,y,share,price,steps,code\n{rows}")
    write(None, "y", "at", None, tmp_path)
    said = capsys.readouterr().out
    assert all(f"column {name!r} holds numbers" in said for name in ("share", "price", "steps"))
    assert "'code'" not in said
