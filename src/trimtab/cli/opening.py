"""What most commands begin with: which document, which state folder, what the ledger says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.loop.home import Home, find_document, home_of
from trimtab.spec.read import load

if TYPE_CHECKING:
    from trimtab.spec import ModelLoop


@dataclass(frozen=True)
class Opened:
    """A checked document and its state folder (which may not exist yet)."""

    path: Path
    document: ModelLoop
    home: Home


def opened(file: Path | None, home: Path | None) -> Opened:
    """Find and check the document; raises Refused or DocumentRefused."""
    path = find_document(file, Path.cwd())
    return Opened(path, _here(load(path)), home_of(path, home))


def _here(document: ModelLoop) -> ModelLoop:
    """As it runs on one machine: nothing follows a repository here, so the loop itself changes what serves."""
    if document.spec.release.delivery == "direct":
        return document
    release = document.spec.release.model_copy(update={"delivery": "direct", "gitops": None})
    return document.model_copy(update={"spec": document.spec.model_copy(update={"release": release})})
