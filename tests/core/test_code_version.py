"""Which code made a version: with git, without it, and with changes that nobody committed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trimtab import __version__
from trimtab.stages.code_version import code_version


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_of_the_loops_folder(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    assert code_version(tmp_path) == __version__  # no commit yet
    (tmp_path / "loop.yaml").write_text("a")
    _git(tmp_path, "add", "loop.yaml")
    _git(tmp_path, "commit", "-qm", "first")
    made = f"{__version__}+git.{_git(tmp_path, 'rev-parse', '--short=12', 'HEAD')}"
    (tmp_path / ".trimtab").mkdir()
    (tmp_path / ".trimtab" / "ledger.db").write_text("state is not code")
    assert code_version(tmp_path) == made
    (tmp_path / "loop.yaml").write_text("b")
    assert code_version(tmp_path) == f"{made}-dirty"


def test_without_a_repository_or_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_version(tmp_path) == __version__
    assert code_version(tmp_path / "nowhere") == __version__
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version(Path.cwd()) == __version__
