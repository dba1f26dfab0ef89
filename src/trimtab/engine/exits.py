"""Why a task's process ended, in words."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from trimtab.engine.warm import Ended

_OURS = re.compile(r"^trimtab\.errors\.(\w+): ")
_ATTEMPT = re.compile(r"^--- attempt \d+$", re.MULTILINE)  # what `attempts` writes between attempts
_MOST_BYTES = 8192
_MOST_CHARACTERS = 500


def reason_of(ended: Ended, log: Path) -> str:
    """`killed by SIGKILL (out of memory?)`, `exit code 1: <last line of its log>`, or why it did not start."""
    if ended.reason:
        return ended.reason
    if ended.signal:
        try:
            name = signal.Signals(ended.signal).name
        except ValueError:
            name = f"signal {ended.signal}"
        return f"killed by {name}" + (" (out of memory?)" if ended.signal == signal.SIGKILL else "")
    # A sentence of ours needs no class before it; that it is a refusal says that another try would change nothing.
    line = _OURS.sub(lambda found: "refused: " * found[1].endswith("Refused"), last_line(log))
    return f"exit code {ended.code}" + (f": {line}" if line else "")


def last_line(log: Path) -> str:
    """The last line of a log that holds anything, shortened; "" if there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _MOST_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    text = _ATTEMPT.split(text)[-1]  # what an earlier attempt said is not why this one ended
    # kfp's executor prints its input over many indented lines: none of them says why a task failed.
    lines = [line for line in text.splitlines() if line.strip(" \t{}[],") and not line[0].isspace()]
    told = [line.strip() for line in lines if not line.startswith("[KFP Executor")]
    return shortened(told[-1], _MOST_CHARACTERS) if told else ""


def shortened(text: str, most: int) -> str:
    """The text, cut after a word and marked as cut if it is longer."""
    return text if len(text) <= most else text[: most - 2].rsplit(" ", 1)[0] + " …"
