"""Delivery into a git repository: a commit for what the loop decides alone, a pull request for what people decide.

Each attempt looks afresh: fetch, compare, commit on top, push. Whoever is faster makes the push fail, and the next
attempt sees what they did: another file, and the commit is made again on top of theirs; this one, and it is left alone.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trimtab.adapters.delivery import message, values
from trimtab.adapters.delivery.repository import Repository
from trimtab.adapters.delivery.requests import Requests
from trimtab.adapters.git import Credentials, Git
from trimtab.errors import DeliveryConflict, DeliveryFailed
from trimtab.ports.delivery import Answer, Asked, Delivered, Served, Wanted, Why
from trimtab.spec.release import GitOps

_TRIES = 5


class GitDelivery:
    """Delivery of one loop. Without `requests` a branch of its own takes the place of a pull request."""

    def __init__(
        self,
        folder: Path,
        loop: str,
        where: GitOps,
        credentials: Credentials,
        uri: Callable[[Served], str],
        requests: Requests | None = None,
        timeout_seconds: float = 20.0,
    ) -> None:
        """`folder` is the loop's own and may be lost. `uri`: where pods find a bundle."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = folder / "lock"
        self._loop, self._branch, self._uri, self._requests = loop, where.branch, uri, requests
        path = f"{(where.path or f'releases/{loop}').strip('/')}/{values.FILE}"
        git = Git(folder / "repository.git", where.repository, credentials, timeout_seconds)
        self._host, self._repository = git.host, Repository(git, path)

    def deliver(
        self,
        wanted: Wanted | None,
        known: str,
        why: Why,
        asked: Wanted | None = None,
        withdrawn: Wanted | None = None,
    ) -> Delivered:
        """Make this what the file says, if what it says is ours; raises DeliveryConflict, DeliveryFailed."""
        with self._alone():
            for _ in range(_TRIES):
                tip, found = self._look()
                if wanted is None or (found is not None and found in (self._text(wanted), self._text(asked))):
                    return self._delivered(found)
                if found is not None or known:
                    self._check_ours(tip, found, wanted, known, withdrawn)
                body = self._text(wanted) or ""
                commit = self._repository.commit(tip, body, message.commit(self._loop, wanted, why))
                if self._repository.push(commit, self._branch):
                    return self._delivered(body)
        raise DeliveryFailed(
            f"{_TRIES} pushes to {self._branch} at {self._host} were each overtaken by another; it is tried again"
        )

    def ask(self, asked: Asked) -> Answer:
        """Ask once a key; raises DeliveryConflict where what was merged is no longer what was asked."""
        head = self._head(asked.key)
        with self._alone():
            if self._requests is None:
                return self._ask_by_branch(asked, head)
            found = self._requests.look(head)
            if found is None:
                self._push_head(asked, head)
                title = message.title(self._loop, asked.wanted)
                found = self._requests.open(head, title, message.request(self._loop, asked.wanted, asked.why))
            if found.state == "merged":
                self._check_merged(asked, found.url)
            return Answer(found.state, found.url, found.who)

    def withdraw(self, key: str, why: str) -> None:
        """Close the request and delete its branch."""
        head = self._head(key)
        with self._alone():
            if self._requests is not None:
                found = self._requests.look(head)
                if found is not None and found.state == "open":
                    self._requests.close(found, f"The loop takes this back. {message.safe(why)}".strip())
            self._repository.delete(head)

    def _head(self, key: str) -> str:
        return f"trimtab/{self._loop}/{key}"

    def _text(self, wanted: Wanted | None) -> str | None:
        return None if wanted is None else values.text(self._loop, wanted, self._uri)

    def _look(self) -> tuple[str, str | None]:
        """The tip of the branch and the file there."""
        tip = self._repository.tip(self._branch)
        if tip is None:
            raise DeliveryFailed(
                f"the repository at {self._host} has no branch {self._branch}: push it (again), with a first commit if "
                "the repository is new; what was decided is delivered then"
            )
        return tip, self._repository.read(tip)

    def _delivered(self, found: str | None) -> Delivered:
        return Delivered(values.name_of(found), *values.champion_of(self._loop, found))

    def _check_ours(self, tip: str, found: str | None, wanted: Wanted, known: str, withdrawn: Wanted | None) -> None:
        if known and values.name_of(found) == known:
            return
        if found is not None and found == self._text(withdrawn):
            return  # merged at the moment in which it was taken back
        raise self._conflict(tip, found, wanted, known)

    def _conflict(self, tip: str, found: str | None, wanted: Wanted, known: str) -> DeliveryConflict:
        """Which file, which fields, who, and what to do."""
        path, changes = self._repository.path, list(self._repository.changes(tip))
        ours = next(
            (one for one in changes if known and values.name_of(self._repository.read(one.commit)) == known), None
        )
        before = self._repository.read(ours.commit) if ours is not None else self._text(wanted)
        fields = "; ".join(values.differences(before, found)[:8])
        by = f"{changes[0].who} in commit {changes[0].commit[:12]} ({changes[0].title})" if changes else "somebody"
        if ours is None or (changes and changes[0].commit == ours.commit):
            what = (
                "the branch's history was rewritten"
                if known
                else "it was there before this loop, which remembers nothing of it"
            )
            mend = "Put these fields back" if known else "Delete it to let the loop write it, or name another `path`"
            return DeliveryConflict(
                f"{path} on {self._branch} is not as the loop left it: {what}; last by {by}; {fields}. It is left "
                f"alone. {mend}, and the loop goes on"
            )
        return DeliveryConflict(
            f"{path} on {self._branch} was changed by {by}: {fields}. It is left alone. Undo it with `git revert "
            f"{changes[0].commit[:12]}`, and the loop goes on; put what shall stay into values.yaml beside it, and ask "
            "for versions with `trimtab promote` and `trimtab rollback`"
        )

    def _ask_by_branch(self, asked: Asked, head: str) -> Answer:
        tip, found = self._look()
        if found == self._text(asked.wanted):
            newest = next(self._repository.changes(tip), None)
            self._repository.delete(head)
            return Answer("merged", who=newest.who if newest is not None and not newest.ours else "")
        branch = self._repository.tip(head)
        where = f"branch {head} at {self._host}: merge it into {self._branch} to accept, delete it to refuse"
        if branch is None and asked.opened:
            return Answer("closed")
        if branch is None:
            self._push_head(asked, head)
        elif self._repository.holds(tip, branch):
            self._check_merged(asked, where)
        return Answer("open", where)

    def _push_head(self, asked: Asked, head: str) -> None:
        tip, _ = self._look()
        body, there = self._text(asked.wanted) or "", self._repository.tip(head)
        if there is not None and self._repository.read(there) == body:
            return
        commit = self._repository.commit(tip, body, message.commit(self._loop, asked.wanted, asked.why))
        if there is not None or not self._repository.push(commit, head):
            raise DeliveryConflict(
                f"branch {head} at {self._host} is there already and holds something else: delete it, and the loop asks"
            )

    def _check_merged(self, asked: Asked, where: str) -> None:
        tip, found = self._look()
        if found != self._text(asked.wanted):
            raise self._changed_after_merge(tip, found, asked.wanted, where)

    def _changed_after_merge(self, tip: str, found: str | None, wanted: Wanted, where: str) -> DeliveryConflict:
        newest = next(self._repository.changes(tip), None)
        by = f"{newest.who} in commit {newest.commit[:12]} ({newest.title})" if newest is not None else "somebody"
        fields = "; ".join(values.differences(self._text(wanted), found)[:8])
        return DeliveryConflict(
            f"what was asked is merged ({where}), but {self._repository.path} on {self._branch} says something else, "
            f"last by {by}: {fields}. It is left alone. Put back what was merged, or refuse it with `trimtab rollback`"
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time in this folder; a lock of the kernel's, which a killed writer does not leave behind."""
        with self._lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            try:
                yield
            except DeliveryFailed as error:
                self._repository.mend(error)
                raise
