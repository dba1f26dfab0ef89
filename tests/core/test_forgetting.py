"""What `trimtab replay --fresh` may remove: an earlier replay's state and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.errors import Refused
from trimtab.loop.forgetting import forget, may_forget
from trimtab.loop.home import Home


def _state(root: Path, *more: str) -> Home:
    for name in ("ledger.db", "ledger.db-wal", "mlflow.db", "mlflow.db.lock", "owner.json", ".gitignore", *more):
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("kept")
    (root / "predictions/day").mkdir(parents=True)
    return Home(root)


def _names(home: Home) -> set[str]:
    return {path.name for path in home.root.iterdir()}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_missing_or_empty_folder_is_fine(tmp_path: Path, fresh: bool) -> None:
    may_forget(Home(tmp_path / "missing"), fresh)
    assert not (tmp_path / "missing").exists()
    may_forget(Home(tmp_path), fresh)
    made = Home(tmp_path / "made").make()
    may_forget(made, fresh)
    forget(made)
    assert made.replay_marker.exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "that no replay made"),
        (("accepted.json", "demo-summary.json", "report.html"), "that no replay made"),
        (("demo-summary.json",), "that no replay made"),
        (("made-by-replay", "thesis.tex"), "thesis.tex"),
        (("thesis.tex", "demo-summary.json", "report.html"), "thesis.tex"),
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_not_a_replays_is_refused_and_left_alone(
    tmp_path: Path, more: tuple[str, ...], said: str, fresh: bool
) -> None:
    home = _state(tmp_path / "home", *more)
    before = _names(home)
    with pytest.raises(Refused, match=said) as refused:
        may_forget(home, fresh)
    assert "--home" in str(refused.value)
    assert "--fresh" not in str(refused.value)
    with pytest.raises(Refused):
        forget(home)
    assert _names(home) == before


@pytest.mark.parametrize("more", [("made-by-replay",), ("demo-summary.json", "report.html")])
def test_a_replays_state_is_forgotten_only_if_that_was_said(tmp_path: Path, more: tuple[str, ...]) -> None:
    home = _state(tmp_path / "home", *more)
    with pytest.raises(Refused, match="--fresh"):
        may_forget(home, fresh=False)
    may_forget(home, fresh=True)
    forget(home)
    assert _names(home) == {".gitignore", "owner.json", "made-by-replay"}


def test_a_link_in_the_folder_is_removed_and_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("kept")
    home = _state(tmp_path / "home", "made-by-replay")
    (home.root / "runs").symlink_to(elsewhere)
    forget(home)
    assert (elsewhere / "mine").read_text() == "kept"
    assert "runs" not in _names(home)
