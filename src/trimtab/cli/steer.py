"""`trimtab promote`, `rollback`, `retrain`: a person's wish, answered by the next turn of whoever runs the loop."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from trimtab import wiring
from trimtab.cli.opening import opened_or_remembered
from trimtab.decisions.observed import Observed, WishSeen
from trimtab.decisions.state import LoopState
from trimtab.decisions.wishes import unattended
from trimtab.errors import TrimtabError
from trimtab.loop.owner import owner_of, owning
from trimtab.ports.turns import Turn

_PATIENCE_SECONDS = 60.0


def wish(kind: str, arguments: Mapping[str, str], file: Path | None, home: Path | None, as_json: bool) -> None:
    """Record the wish and wait for its answer; with nobody running the loop, decide here and now."""
    found = opened_or_remembered(file, home)
    turns = wiring.lasting_ledger(found.document, found.home).turns
    asked = {**arguments, "who": getpass.getuser()}
    number = turns.wish(datetime.now(UTC), kind, asked)
    if owner_of(found.home.owner) is None:
        with owning(found.home.owner, f"trimtab {kind}"):
            last = turns.latest()
            state = LoopState() if last is None else LoopState.from_json(last.state)
            now = max(datetime.now(UTC), last.time) if last else datetime.now(UTC)
            asks = WishSeen(number, kind, arguments.get("version", ""), asked["who"])
            outcome = unattended(found.document.spec, state, Observed(now=now, wishes=(asks,)))
            decisions = [decision.to_json() for decision in outcome.decisions]
            seen = last.observed if last is not None else {}  # nothing new was looked at
            turns.commit(
                Turn(1 if last is None else last.number + 1, now, outcome.state.to_json(), seen, decisions),
                outcome.answered,
            )
    answer = _answer(turns, number)
    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        Console().print(f"{answer['kind']}: {answer['sentence']}", markup=False, highlight=False)
        if answer["kind"] != "refuse" and owner_of(found.home.owner) is None:
            Console().print("[dim]nobody runs this loop now; the decision takes effect with: trimtab up[/]")
    if answer["kind"] == "refuse":
        raise SystemExit(1)


def _answer(turns: wiring.Turns, number: int) -> Mapping[str, object]:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        for decision in turns.newest_decisions(200):
            if decision.get("wish") == number:
                return decision
        time.sleep(0.1)
    raise TrimtabError(
        f"the process that runs the loop did not answer within {_PATIENCE_SECONDS:.0f} s; "
        "the wish stays recorded. Look at: trimtab status"
    )
