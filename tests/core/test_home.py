"""Where a loop keeps its state, and which document a command means."""

from pathlib import Path

import pytest

from trimtab.errors import Refused
from trimtab.loop.home import find_document, home_of


def test_the_nearest_document_upward_is_meant(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_document(None, inner) == tmp_path / "loop.yaml"
    assert find_document(tmp_path, inner) == tmp_path / "loop.yaml"
    with pytest.raises(Refused, match="trimtab init"):
        find_document(inner / "other.yaml", inner)


def test_state_is_beside_the_document_and_out_of_git(tmp_path: Path) -> None:
    home = home_of(tmp_path / "loop.yaml", None).make()
    assert home.root == tmp_path / ".trimtab"
    assert (home.root / ".gitignore").read_text() == "*\n"
    assert home_of(tmp_path / "loop.yaml", tmp_path / "x").root == tmp_path / "x"


def test_a_home_that_can_be_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="--home"):
        home_of(tmp_path / "loop.yaml", tmp_path / "file").make()
    with pytest.raises(Refused, match="--home"):
        home_of(tmp_path / "loop.yaml", tmp_path / "file" / "inner").make()
