"""What a replay may forget: its own earlier state, never a live loop's and never files that are not trimtab's."""

from __future__ import annotations

import shutil
from pathlib import Path

from trimtab.errors import Refused
from trimtab.loop.home import Home

_OF_A_STATE = frozenset(
    (
        ".gitignore",
        "artifacts",
        "baseline",
        "collector",
        "controller.log",
        "drift-monitor.json",
        "demo-summary.json",
        "labels",
        "owner.json",
        "predictions",
        "replay.json",
        "report.html",
        "reports",
        "router",
        "runs",
        "servers",
    )
)
_DATABASES = ("ledger.db", "mlflow.db")  # beside each: its journal and its locks
_LEFT_BY_OLD_REPLAYS = ("demo-summary.json", "report.html")  # of before there was a marker
_KEPT = "owner.json"  # locked by whoever forgets
_MOST_NAMED = 3


def may_forget(home: Home, fresh: bool) -> None:
    """Refuse a folder that a replay must not begin in; `fresh` says that an earlier replay's state may go."""
    names = _names(home.root)
    if not names - {".gitignore", _KEPT}:
        return
    foreign = sorted(name for name in names if not _is_known(home, name))
    if foreign:
        told = ", ".join(foreign[:_MOST_NAMED]) + (" and more" if len(foreign) > _MOST_NAMED else "")
        raise Refused(
            f"{home.root} holds files that are no state of trimtab ({told}), so a replay does not touch it. "
            "Give a folder of its own with --home"
        )
    if not _is_replays(home):
        raise Refused(
            f"{home.root} holds the state of a loop that no replay made, so a replay does not touch it. "
            f"Give a folder of its own with --home, such as: --home {home.root.parent / 'replayed'}"
        )
    if not fresh:
        raise Refused(
            f"{home.root} holds the state of an earlier replay. Add --fresh to forget it, or give another --home"
        )


def forget(home: Home) -> None:
    """Remove an earlier replay's state and mark the folder as a replay's; call with the folder owned."""
    may_forget(home, fresh=True)
    for name in sorted(_names(home.root) - {".gitignore", _KEPT, home.replay_marker.name}):
        path = home.root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    home.replay_marker.write_text("A replay made this folder; `trimtab replay --fresh` may forget all that is in it.\n")


def _names(root: Path) -> set[str]:
    try:
        return {path.name for path in root.iterdir()}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise Refused(
            f"{root} cannot be the state folder of a replay: {error.strerror}. Give another --home"
        ) from error


def _is_known(home: Home, name: str) -> bool:
    known = name in _OF_A_STATE or name in (home.replay_marker.name, home.accepted.name, home.failing.name)
    return known or any(
        name == database or name.startswith((f"{database}-", f"{database}.")) for database in _DATABASES
    )


def _is_replays(home: Home) -> bool:
    if home.replay_marker.exists():
        return True
    return not home.accepted.exists() and all((home.root / name).is_file() for name in _LEFT_BY_OLD_REPLAYS)
