"""What most commands begin with: which document, which state folder, what the ledger says."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.errors import Refused
from trimtab.loop.home import DOCUMENT, STATE_FOLDER, Home, find_document, home_of
from trimtab.spec.read import load

if TYPE_CHECKING:
    from trimtab.spec import ModelLoop


@dataclass(frozen=True)
class Opened:
    """A checked document and its state folder (which may not exist yet)."""

    path: Path
    document: ModelLoop
    home: Home
    doubt: str = ""  # why the document is not the one in `path`


def opened(file: Path | None, home: Path | None) -> Opened:
    """Find and check the document; raises Refused or DocumentRefused."""
    path = find_document(file, Path.cwd())
    return Opened(path, here(load(path)), home_of(path, home))


def opened_or_remembered(file: Path | None, home: Path | None) -> Opened:
    """The same for commands that look at a loop or steer it: the document it runs by, where loop.yaml is another one.

    That is when it is refused now, or has got another name. One line on stderr says so. Raises Refused or
    DocumentRefused if nothing is remembered either.
    """
    from trimtab.loop.accepted import recall

    try:
        found = opened(file, home)
    except Refused:
        path = _meant(file, home)
        place = home_of(path, home)
        known = recall(place)
        if known is None:
            raise
    else:
        doubt = renamed(found)
        known = recall(found.home)
        if not doubt or known is None:
            return found
        print(f"trimtab: {doubt}", file=sys.stderr)
        return Opened(found.path, here(known.document), found.home, doubt)
    what = f"{path} is refused at present (trimtab validate says why)" if path.is_file() else f"{path} is not there"
    doubt = f"{what}; the document of {known.time:%Y-%m-%d %H:%M} UTC, which this loop goes by, is used"
    print(f"trimtab: {doubt}", file=sys.stderr)
    return Opened(path, here(known.document), place, doubt)


def renamed(found: Opened) -> str:
    """That the document has another name than the loop of its state folder, and what comes of it; empty if not so."""
    from trimtab.loop.accepted import recall

    known = recall(found.home)
    new = found.document.metadata.name
    if known is None or known.document.metadata.name == new:
        return ""
    old = known.document.metadata.name
    return (
        f"{found.path} has the name {new} now, and {found.home.root} is the state of {old}, which is meant here; "
        f"a loop {new} needs a state folder of its own: trimtab up --home FOLDER"
    )


def refuse_new_name(found: Opened) -> None:
    """Raise Refused if the state folder is that of a loop with another name, whose runs would be taken for its own."""
    from trimtab import wiring
    from trimtab.loop.accepted import recall

    known = recall(found.home)
    if known is None or not renamed(found) or wiring.ledger(known.document, found.home).turns.latest() is None:
        return
    old, new = known.document.metadata.name, found.document.metadata.name
    raise Refused(
        f"{found.path} has the name {new}, and {found.home.root} is the state of {old}: versions, decisions and runs "
        f"belong to a name. Go on with {old} by writing that name back, or begin {new} with no version in a state "
        "folder of its own: give one with --home"
    )


def _meant(file: Path | None, home: Path | None) -> Path:
    """Where the document would be: given, beside the nearest state folder upward, or unknown beside the given home."""
    if file is not None:
        return (file / DOCUMENT if file.is_dir() else file).resolve()
    start = Path.cwd()
    for folder in (start, *start.parents):
        if (folder / DOCUMENT).is_file() or (folder / STATE_FOLDER).is_dir():
            return folder / DOCUMENT
    return (home.resolve().parent if home is not None else start) / DOCUMENT


def here(document: ModelLoop) -> ModelLoop:
    """As it runs on one machine: nothing follows a repository here, so the loop itself changes what serves."""
    if document.spec.release.delivery == "direct":
        return document
    release = document.spec.release.model_copy(update={"delivery": "direct", "gitops": None})
    return document.model_copy(update={"spec": document.spec.model_copy(update={"release": release})})
