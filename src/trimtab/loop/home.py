"""Where a loop keeps its state on one machine, and which loop.yaml a command means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trimtab.errors import Refused

DOCUMENT = "loop.yaml"
STATE_FOLDER = ".trimtab"


@dataclass(frozen=True)
class Home:
    """The folder of a loop's state; every path in it has a name here."""

    root: Path

    @property
    def ledger(self) -> Path:
        """SQLite file of turns, runs and tasks."""
        return self.root / "ledger.db"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking store."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifacts: the bundles of every version."""
        return self.root / "artifacts"

    @property
    def runs(self) -> Path:
        """A folder a pipeline run: logs and artifacts."""
        return self.root / "runs"

    @property
    def predictions(self) -> Path:
        """The prediction log."""
        return self.root / "predictions"

    @property
    def labels(self) -> Path:
        """The label log."""
        return self.root / "labels"

    @property
    def router(self) -> Path:
        """Envoy's configuration and access log."""
        return self.root / "router"

    @property
    def reports(self) -> Path:
        """The monitoring reports, a page a run."""
        return self.root / "reports"

    @property
    def servers(self) -> Path:
        """A folder a model server: its log."""
        return self.root / "servers"

    @property
    def owner(self) -> Path:
        """Locked by the process that runs the loop."""
        return self.root / "owner.json"

    @property
    def accepted(self) -> Path:
        """The document that was last accepted here."""
        return self.root / "accepted.json"

    @property
    def failing(self) -> Path:
        """The failure that no turn has got over yet."""
        return self.root / "failing.json"

    @property
    def replay_marker(self) -> Path:
        """There exactly if a replay made this state."""
        return self.root / "made-by-replay"

    def make(self) -> Home:
        """Create the folder, kept out of git; raises Refused if it cannot be one."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except PermissionError as error:
            raise Refused(_not_ours(self.root)) from error
        except OSError as error:
            raise Refused(
                f"{self.root} cannot hold the state of a loop: {error.strerror}. Give a folder with --home"
            ) from error
        return self


def _not_ours(root: Path) -> str:
    """Who may not write where, and what mends it: on a cluster it is the volume that belongs to somebody else."""
    there = next((one for one in (root, *root.parents) if os.access(one, os.F_OK)), root)
    user, group = os.geteuid(), os.getegid()
    try:
        owner = there.stat()
        whose = f"belongs to user {owner.st_uid}, group {owner.st_gid}, mode {owner.st_mode & 0o7777:04o}"
    except OSError:
        whose = "cannot be looked at"
    return (
        f"{root} cannot hold the state of a loop: this is user {user}, group {group}, and {there} {whose}. "
        f"Give a folder with --home; on a cluster make the volume's folder writable, where it lies: "
        f"sudo chown -R {user}:{group} FOLDER (docs/kubernetes.md, The volume)"
    )


def find_document(given: Path | None, start: Path) -> Path:
    """The loop.yaml meant: the given file (or the one in the given folder), else the nearest upward from `start`."""
    if given is not None:
        path = given / DOCUMENT if given.is_dir() else given
        if path.is_file():
            return path.resolve()
        raise Refused(f"{given}: no such file. Give the path of a loop.yaml, or make one with: trimtab init")
    for folder in (start, *start.parents):
        if (folder / DOCUMENT).is_file():
            return (folder / DOCUMENT).resolve()
    raise Refused(f"no {DOCUMENT} in {start} or any folder above it. Make one with: trimtab init")


def home_of(document: Path, given: Path | None) -> Home:
    """The state folder: the given one, else `.trimtab` beside the document."""
    return Home(given.resolve() if given is not None else document.parent / STATE_FOLDER)
