"""The document that a state folder was last run with: what a loop goes by while its loop.yaml is refused or gone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from trimtab.errors import StorageFull
from trimtab.loop.home import Home
from trimtab.spec.document import ModelLoop


@dataclass(frozen=True)
class Accepted:
    """A document, and when it was taken up."""

    document: ModelLoop
    time: datetime


def remember(home: Home, document: ModelLoop, now: datetime) -> None:
    """Keep the document in the state folder; raises StorageFull."""
    told = document.model_dump(mode="json", by_alias=True, exclude_none=True)
    made = home.accepted.with_name(home.accepted.name + ".new")
    try:
        made.write_text(json.dumps({"time": now.isoformat(timespec="seconds"), "document": told}))
        made.replace(home.accepted)
    except OSError as error:
        raise StorageFull(f"{home.accepted} cannot be written: {error.strerror}. Free some disk space") from error


def recall(home: Home) -> Accepted | None:
    """What was kept, or None. It was valid when it was taken up, so rules that are newer than it are not asked."""
    try:
        told = json.loads(home.accepted.read_text())
        return Accepted(ModelLoop.model_validate(told["document"]), datetime.fromisoformat(told["time"]))
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None
