"""Real git repositories for tests: one that stands for the host's, and people who clone, edit, merge and push."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}


class Place:
    """A bare repository with branch main and a first commit, in `folder`/origin.git."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "origin.git"
        folder.mkdir(parents=True, exist_ok=True)
        self._git(folder, "init", "--quiet", "--bare", "-b", "main", str(self.path))
        first = Person(self, "first")
        first.write("README.md", "Releases.\n")
        first.push("A first commit")

    @property
    def url(self) -> str:
        """Its address."""
        return f"file://{self.path}"

    def git(self, *arguments: str) -> str:
        """Run git in it."""
        return self._git(self.path, *arguments)

    def branches(self) -> list[str]:
        """All branches."""
        return self.git("for-each-ref", "--format=%(refname:short)", "refs/heads").split()

    def read(self, path: str, branch: str = "main") -> str:
        """A file at the branch's tip."""
        return self.git("show", f"{branch}:{path}")

    def log(self, branch: str = "main") -> list[str]:
        """Titles of commits, newest first."""
        return self.git("log", "--topo-order", "--format=%s", branch).splitlines()

    def message(self, branch: str = "main") -> str:
        """The whole message of the newest commit."""
        return self.git("log", "-1", "--format=%B", branch)

    @staticmethod
    def _git(folder: Path, *arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **_ENVIRONMENT}
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise AssertionError(f"git {' '.join(arguments)}: {done.stderr}")
        return done.stdout


class Person:
    """Somebody with a clone of their own."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.folder, self.name = place, place.folder / f"clone-{name}", name
        if not self.folder.exists():
            place._git(place.folder, "clone", "--quiet", str(place.path), str(self.folder))

    def git(self, *arguments: str) -> str:
        """Run git in the clone."""
        identity = ("-c", f"user.name={self.name}", "-c", f"user.email={self.name}@example.org")
        return self.place._git(self.folder, *identity, *arguments)

    def pull(self) -> None:
        """Take what is at the place, giving up what is here."""
        self.git("fetch", "--quiet", "--prune", "origin")
        self.git("checkout", "--quiet", "-B", "main", "origin/main")

    def write(self, path: str, text: str) -> None:
        """Edit a file."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        """A file of the clone."""
        return (self.folder / path).read_text(encoding="utf-8")

    def push(self, message: str, *options: str) -> None:
        """Commit everything and push main."""
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", message)
        self.git("push", "--quiet", *options, "origin", "HEAD:main")

    def merge(self, branch: str, how: str = "--no-ff") -> None:
        """Merge a branch into main and push, as a host's button does; `how`: --no-ff, --ff-only or --squash."""
        self.pull()
        self.git("merge", "--quiet", how, *(["--no-edit"] if how == "--no-ff" else []), f"origin/{branch}")
        if how == "--squash":
            self.git("commit", "--quiet", "-m", "Merged in one")
        self.git("push", "--quiet", "origin", "HEAD:main")

    def revert(self) -> None:
        """Undo the newest commit of main."""
        self.pull()
        self.git("revert", "--no-edit", "HEAD")
        self.git("push", "--quiet", "origin", "HEAD:main")
