"""One file of one branch: reading it, committing it, saying who changed it. A bare repository, no work tree.

The repository here is a cache: if a killed git left it locked or broken, it is thrown away and made again.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trimtab.adapters.git import Git, plain
from trimtab.errors import DeliveryFailed

_BROKEN = re.compile(
    r"\.lock'?: File exists|not a git repository|object file .* is empty|bad object|corrupt|unable to read|loose object"
)
_REJECTED = (
    "non-fast-forward",
    "fetch first",
    "stale info",
    "cannot lock ref",
    "failed to update ref",
    "incorrect old",
)
_MOST_BYTES = 1024 * 1024
_HISTORY = 200  # commits of the file that are looked through

T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """A commit that changed the file."""

    commit: str
    who: str
    when: str
    title: str

    @property
    def ours(self) -> bool:
        """Whether the loop itself is its author."""
        return self.who.startswith("trimtab <trimtab@")


class Repository:
    """The file at `path` in the repository that `git` reaches."""

    def __init__(self, git: Git, path: str) -> None:
        self._git, self.path = git, path

    def tip(self, branch: str) -> str | None:
        """The newest commit of the branch, fetched; None if there is no such branch. Raises DeliveryFailed."""
        return self._mended(lambda: self._fetch(branch))

    def read(self, commit: str) -> str | None:
        """The file as of the commit; None if it is not there."""
        listed = self._git.run("ls-tree", "-z", commit, "--", self.path)
        if not listed:
            return None
        mode, kind, rest = listed.split(" ", 2)
        if kind != "blob" or mode == "120000":
            raise DeliveryFailed(f"{self.path} in the repository is no plain file; move away what is there")
        blob = rest.split("\t")[0]
        if int(self._git.run("cat-file", "-s", blob)) > _MOST_BYTES:
            raise DeliveryFailed(
                f"{self.path} in the repository is larger than {_MOST_BYTES} bytes: it is none of ours"
            )
        return self._git.run("cat-file", "blob", blob)

    def commit(self, parent: str, body: str, message: str) -> str:
        """A commit on top of `parent` that changes the file and nothing else."""
        with tempfile.TemporaryDirectory(prefix="trimtab-index-") as folder:  # a killed writer locks no other
            more = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            blob = self._git.run("hash-object", "-w", "--stdin", text=body).strip()
            self._git.run("read-tree", parent, more=more)
            self._git.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{self.path}", more=more)
            tree = self._git.run("write-tree", more=more).strip()
        return self._git.run("commit-tree", tree, "-p", parent, "-F", "-", text=message).strip()

    def push(self, commit: str, branch: str) -> bool:
        """Whether the branch is now at the commit; False if somebody else was faster. Raises DeliveryFailed."""
        done = self._git.attempt("push", "--porcelain", self._git.repository, f"{commit}:refs/heads/{branch}")
        if done.returncode == 0:
            return True
        said = f"{done.stdout}\n{done.stderr}"
        if any(one in said for one in _REJECTED):
            return False
        rejected = [line for line in done.stdout.splitlines() if line.startswith("!")]
        raise self._git.failed("push", "\n".join([done.stderr, *rejected]))

    def delete(self, branch: str) -> None:
        """Delete the branch; nothing happens if it is gone."""
        if self.tip(branch) is not None:
            self._git.run("push", self._git.repository, f":refs/heads/{branch}")

    def holds(self, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is the commit or one before it."""
        return self._git.attempt("merge-base", "--is-ancestor", ancestor, commit).returncode == 0

    def changes(self, commit: str) -> Iterator[Change]:
        """Commits that changed the file, newest first."""
        form = "--format=%H%x00%an <%ae>%x00%cI%x00%s"
        for line in self._git.run("log", f"-{_HISTORY}", form, commit, "--", self.path).splitlines():
            found, who, when, title = line.split("\0", 3)
            yield Change(found, plain(who), when, plain(title))

    def _fetch(self, branch: str) -> str | None:
        if not (self._git.folder / "HEAD").is_file():
            self._git.folder.mkdir(parents=True, exist_ok=True)
            self._git.run("init", "--quiet", "--bare", str(self._git.folder))
        # Into no ref of ours: a killed git would leave it locked.
        done = self._git.attempt(
            "fetch", "--quiet", "--no-tags", "--refmap=", self._git.repository, f"refs/heads/{branch}"
        )
        if done.returncode == 0:
            return self._git.run("rev-parse", "--verify", "FETCH_HEAD^{commit}").strip()
        if "couldn't find remote ref" in done.stderr.lower():
            return None
        raise self._git.failed("fetch", done.stderr)

    def mend(self, error: DeliveryFailed) -> bool:
        """Throw the cache away if the error says that it is broken; the next look fetches it anew."""
        broken = _BROKEN.search(str(error)) is not None
        if broken:
            shutil.rmtree(self._git.folder, ignore_errors=True)
        return broken

    def _mended(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except DeliveryFailed as error:
            if not self.mend(error):
                raise
        return work()
