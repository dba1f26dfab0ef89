"""The events of one watch, in order, as the selectors let them through."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trimtab.testing.kubernetes.journal import Happened
from trimtab.testing.kubernetes.kinds import Kind
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.selectors import Matches
from trimtab.testing.kubernetes.store import Store, as_kind

_POLL_SECONDS = 0.5
_EXPIRED = "too old resource version"


@dataclass(frozen=True)
class Watch:
    """What is watched, from which revision (None: from what is there now), and for how long."""

    kind: Kind
    namespace: str
    matches: Matches
    revision: int | None
    seconds: float
    bookmarks: bool = False
    initial: bool = False  # send what is there, then a bookmark that says so


def events(
    store: Store, watch: Watch, stopped: Callable[[], bool], bookmark_seconds: float
) -> Iterator[dict[str, Any]]:
    """Yields until the time is up or `stopped`; {} is a chance for the caller to see that nobody reads any more."""
    journal = store.journal
    with journal.lock:
        revision = journal.revision if watch.revision is None else watch.revision
        there = store.all(watch.kind, watch.namespace) if watch.revision is None or watch.initial else []
        revision = journal.revision if there else revision
    for one in there:
        if watch.matches(one):
            yield {"type": "ADDED", "object": one}
    if watch.initial:
        yield _bookmark(watch.kind, revision, {"k8s.io/initial-events-end": "true"})
    until = time.monotonic() + watch.seconds
    marked = time.monotonic()
    while not stopped():
        with journal.lock:
            found = journal.since(revision, watch.kind.resource)
            left = until - time.monotonic()
            if found == [] and left > 0:
                journal.changed.wait(min(_POLL_SECONDS, left))
                found = journal.since(revision, watch.kind.resource)
            now = journal.revision
        if found is None:
            yield {"type": "ERROR", "object": ApiRefused(410, f"{_EXPIRED}: {revision}").status()}
            return
        for happened in found:
            if (event := _event(happened, watch)) is not None:
                yield event
        revision = max(revision, now)
        over = time.monotonic() >= until
        if watch.bookmarks and (over or time.monotonic() - marked > bookmark_seconds):
            marked = time.monotonic()
            yield _bookmark(watch.kind, revision, {})
        if over:
            return
        yield {}


def _event(happened: Happened, watch: Watch) -> dict[str, Any] | None:
    def sees(one: dict[str, Any] | None) -> bool:
        if one is None or (watch.namespace and one["metadata"].get("namespace") != watch.namespace):
            return False
        return watch.matches(one)

    before, after = sees(happened.before), sees(happened.after)
    if not (before or after):
        return None
    word = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
    told = happened.last
    if word == "DELETED" and happened.before is not None:
        meta = {**happened.before["metadata"], "resourceVersion": str(happened.revision)}
        told = {**happened.before, "metadata": meta}
    return {"type": word, "object": as_kind(told, watch.kind)}


def _bookmark(kind: Kind, revision: int, annotations: dict[str, str]) -> dict[str, Any]:
    meta = {"resourceVersion": str(revision), "creationTimestamp": None}
    meta |= {"annotations": annotations} if annotations else {}  # type: ignore[dict-item]
    return {"type": "BOOKMARK", "object": {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}}
