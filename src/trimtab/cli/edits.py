"""loop.yaml edited while `trimtab up` runs: a valid one is taken up with the next turn, an invalid one is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trimtab import wiring
from trimtab.cli.opening import Opened, here
from trimtab.errors import DocumentRefused, StorageFull
from trimtab.loop.accepted import remember
from trimtab.loop.home import Home
from trimtab.loop.turn import Loop
from trimtab.spec.document import ModelLoop
from trimtab.spec.read import load


class Edits:
    """Watches the document of a loop that runs."""

    def __init__(self, found: Opened, every: timedelta) -> None:
        self._path, self._home, self._every = found.path, found.home, every
        self._seen = _stamp(found.path)

    def taken_up(self, loop: Loop) -> tuple[Loop, str]:
        """The loop by the document as it is now, and a sentence if that was edited. It keeps servers and router."""
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return loop, ""
        try:
            edited = here(load(self._path))
        except DocumentRefused as error:
            self._seen = stamp
            first = " ".join(line.strip() for line in str(error).splitlines()[:2])
            return loop, f"{self._path.name} was edited and is refused, so the loop goes on by the one before: {first}"
        if edited == loop.document:
            self._seen = stamp
            return loop, ""
        waits = self._waits(loop.document, edited)
        if waits:
            self._seen = stamp
            return loop, waits
        text = wiring.document_text(edited, self._path.parent)
        taken = Loop(edited, replace(loop.world, document_text=text), self._every)
        try:
            remember(self._home, edited, datetime.now(UTC))
        except StorageFull as error:  # looked at again with the next turn
            return loop, str(error)
        self._seen = stamp
        return taken, f"{self._path.name} was edited and is valid: it is in force from this turn on"

    def _waits(self, running: ModelLoop, edited: ModelLoop) -> str:
        """Why the edit is not in force while this process runs; empty if it can be."""
        old, new, name = running.metadata.name, edited.metadata.name, self._path.name
        if new != old:
            return (
                f"{name} was edited and has another name, so the loop {old} goes on by the one before: a loop {new} "
                "needs a state folder of its own (--home)"
            )
        fixed = held_back(running, edited)
        return f"{name} was edited; it takes effect with the next trimtab up, as it changes {fixed}" if fixed else ""


def held_back(running: ModelLoop, edited: ModelLoop) -> str:
    """What of an edit servers, router and registry must be started anew for; empty if they need not be."""
    changed = {
        "metadata.name": running.metadata.name != edited.metadata.name,
        "spec.serving": running.spec.serving != edited.spec.serving,
        "spec.scope.problem": running.spec.scope.problem != edited.spec.scope.problem,
    }
    return ", ".join(name for name, is_so in changed.items() if is_so)


def pending(home: Home, document: ModelLoop) -> str:
    """What of the document a loop that runs does not go by yet; empty if all is in force."""
    from trimtab.loop.accepted import recall

    known = recall(home)
    if known is None or known.document == document:
        return ""
    fixed = held_back(known.document, document)
    return f"it was edited; with the next trimtab up {fixed} takes effect" if fixed else "it was edited a moment ago"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
