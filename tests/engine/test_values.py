"""Digests, names of folders, and what a controller does not pay for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.engine.naming import iteration, run_id, segment
from trimtab.engine.values import digest_of


def _folder(root: Path, files: dict[str, str]) -> str:
    root.mkdir()
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return digest_of(str(root))


@pytest.mark.parametrize(
    "other",
    [{"a": "1", "c": "2"}, {"a": "1", "b": "3"}, {"a": "1"}, {"a": "12", "b": ""}, {"x/a": "1", "b": "2"}, {}],
)
def test_a_folders_digest_knows_names_and_bytes(tmp_path: Path, other: dict[str, str]) -> None:
    first = _folder(tmp_path / "first", {"a": "1", "b": "2"})
    assert _folder(tmp_path / "same", {"b": "2", "a": "1"}) == first
    assert _folder(tmp_path / "other", other) != first


def test_digests_of_files_and_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    assert digest_of(str(file)) == digest_of(f"file://{file}")
    assert digest_of(str(file)).startswith("sha256:")
    assert digest_of(str(tmp_path / "missing")) == digest_of("gs://bucket/x") == ""
    (tmp_path / "dangling").symlink_to("nowhere")
    assert digest_of(str(tmp_path)) != ""


def test_a_large_artifact_is_known_by_the_times_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.engine.values.MOST_READ_BYTES", 10)
    file = tmp_path / "file"
    file.write_text("more than ten")
    first = digest_of(str(file))
    assert first.startswith("stat:")
    assert digest_of(str(file)) == first
    os.utime(file, ns=(1, 1))
    assert digest_of(str(file)) != first


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_names_never_share_a_folder_and_none_leads_away(first: str, second: str) -> None:
    for name in (first, second):
        made = segment(name)
        assert made not in {"", ".", ".."}
        assert "/" not in made
        assert "\0" not in made
        assert len(made) < 100
        assert made != iteration(0)
    assert (segment(first) == segment(second)) is (first == second)


@given(st.text(), st.text())
def test_a_key_has_one_run(first: str, second: str) -> None:
    assert (run_id(first) == run_id(second)) is (first == second)
    assert segment(run_id(first)) == run_id(first)


@pytest.mark.parametrize("module", ["trimtab.adapters.pipelines.local", "trimtab.cli.pipeline_run", "trimtab.cli.main"])
def test_a_controller_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}; print([n for n in ('kfp', 'numpy', 'pandas', 'sklearn', 'mlflow') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[]"


def test_help_waits_for_no_heavy_library() -> None:
    heavy = (
        "kfp",
        "pandas",
        "sklearn",
        "mlflow",
        "sqlalchemy",
        "pyarrow",
        "duckdb",
        "evidently",
        "kserve",
        "kubernetes",
    )
    look = (
        "import runpy, sys\nsys.argv = ['trimtab', 'pipeline', '--help']\ntry:\n"
        "    runpy.run_module('trimtab', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage" in told.stdout
    assert told.stderr.splitlines()[-1] == "loaded: []"
