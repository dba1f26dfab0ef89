"""`trimtab validate` as a process: exit codes, and that a person never sees a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.spec.generate import SMALLEST


def _validate(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trimtab.cli.main", "validate", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_right_document_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text(SMALLEST)
    ended = _validate("--json", folder=tmp_path)
    assert (ended.returncode, json.loads(ended.stdout), ended.stderr) == (0, [], "")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"- 1", b"a: [", SMALLEST.replace("fraud", "").encode(), b"spec: {training: {window: 9999y}}"],
)
def test_a_wrong_one_ends_with_2_and_a_list(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "loop.yaml").write_bytes(content)
    ended = _validate("--json", folder=tmp_path)
    assert ended.returncode == 2
    assert {"line", "column", "path", "message", "found", "expected", "suggestion"} == json.loads(ended.stdout)[
        0
    ].keys()
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["nowhere.yaml"], ["nowhere.yaml", "--json"], []])
def test_a_missing_file_ends_with_2_and_a_sentence(tmp_path: Path, arguments: list[str]) -> None:
    ended = _validate(*arguments, folder=tmp_path)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("trimtab: ")
    if "--json" in arguments:
        (told,) = json.loads(ended.stdout)
        assert "no such file" in told["message"]


def test_what_is_shown_moves_no_cursor_and_tells_no_password(tmp_path: Path) -> None:
    hidden = SMALLEST.replace("path: orders.csv", "query: q, url: 'postgresql://me:hush@h/d'")
    for text in (hidden, SMALLEST + "x: \x1b[2J\n"):
        (tmp_path / "loop.yaml").write_text(text)
        ended = _validate(folder=tmp_path)
        assert ended.returncode == 2
        assert "\x1b[2J" not in ended.stderr
        assert "hush" not in ended.stderr
