"""Turns that fail: remembered beside the ledger, which may be what fails, until one succeeds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trimtab.loop.home import Home


def note(home: Home, now: datetime, sentence: str) -> None:
    """Remember the failure; how often and since when is counted."""
    before = last(home) or {}
    since = before.get("since") or now.isoformat(timespec="seconds")
    told = {"since": since, "time": now.isoformat(timespec="seconds"), "times": int(before.get("times") or 0) + 1}
    with contextlib.suppress(OSError):  # on a full disk only the terminal says it
        home.failing.write_text(json.dumps({**told, "sentence": sentence}))


def forget(home: Home) -> None:
    """A turn succeeded."""
    with contextlib.suppress(OSError):
        home.failing.unlink(missing_ok=True)


def last(home: Home) -> Mapping[str, Any] | None:
    """`since`, `time`, `times` and `sentence` of the failure that no turn has got over; None if there is none."""
    try:
        found = json.loads(home.failing.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "sentence" in found else None
