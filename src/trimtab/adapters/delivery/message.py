"""What a commit and a pull request say: the sentences, the evidence, and trailers that scripts can read."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

from trimtab.adapters.git import plain
from trimtab.ports.delivery import Wanted, Why

_LONGEST_TITLE = 72
_MOST_EVIDENCE = 6000  # characters a decision
# Decisions that say nothing of what serves.
_ASIDE = ("wait", "alarm", "all-clear", "undelivered", "delivered", "monitoring-failed", "retry-training", "retrain")


def title(loop: str, wanted: Wanted) -> str:
    """What serves from now on, in a line."""
    said = f"{loop}: version {wanted.champion.version} serves"
    if wanted.challenger is not None:
        share = (
            f"{wanted.candidate_percent} %"
            if wanted.candidate_percent
            else "copies"
            if wanted.mirror_percent
            else "no requests yet"
        )
        said += f", version {wanted.challenger.version} gets {share}"
    return plain(said, _LONGEST_TITLE)


def commit(loop: str, wanted: Wanted, why: Why) -> str:
    """The whole message of a commit."""
    sentences = [plain(one.get("sentence", ""), 2000) for one in _told(why)]
    evidence = [_evidence(one) for one in _told(why) if one.get("evidence")]
    parts = [title(loop, wanted), *[textwrap.fill(one, 100) for one in sentences], *evidence, _trailers(loop, why)]
    return "\n\n".join(part for part in parts if part) + "\n"


def request(loop: str, wanted: Wanted, why: Why) -> str:
    """The text of a pull request, in Markdown that no sentence can break out of."""
    parts = []
    for one in _told(why):
        parts.append(safe(plain(one.get("sentence", ""), 2000)))
        if one.get("evidence"):
            parts.append(f"Evidence:\n\n{_indented(_evidence(one))}")
    parts.append(
        "Merge this to accept it; close it without merging to refuse it. The loop waits, and goes on by what you do.\n"
        f"After the merge: {safe(title(loop, wanted))}."
    )
    parts.append(_indented(_trailers(loop, why)))
    return "\n\n".join(parts) + "\n"


def _told(why: Why) -> list[Mapping[str, Any]]:
    return [one for one in why.decisions if one.get("kind") not in _ASIDE]


def _evidence(decision: Mapping[str, Any]) -> str:
    found = json.dumps(decision["evidence"], indent=1, sort_keys=True, default=str)
    return found if len(found) <= _MOST_EVIDENCE else f"{found[:_MOST_EVIDENCE]}\n... cut; `trimtab history` has it all"


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")  # code for Markdown, whatever is in it


def safe(text: str) -> str:
    """Plain words: no markup, no mention that would call somebody, no link."""
    for sign in "\\`*_[]<>#|@!":
        text = text.replace(sign, f"\\{sign}" if sign != "@" else "@\u200b")
    return text


def _trailers(loop: str, why: Why) -> str:
    told = [f"Trimtab-Decision: {plain(one.get('kind', ''))} {plain(one.get('version', ''))}" for one in _told(why)]
    lines = [f"Trimtab-Loop: {loop}", f"Trimtab-Turn: {why.turn}", *[one.rstrip() for one in told]]
    return "\n".join([*lines, "Signed-off-by: trimtab <trimtab@localhost>"])
