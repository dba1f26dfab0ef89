"""`trimtab up` and `down`: the loop in real time."""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from rich.console import Console

from trimtab import wiring
from trimtab.cli.changes import Changes
from trimtab.cli.edits import Edits
from trimtab.cli.opening import opened, opened_or_remembered, refuse_new_name
from trimtab.cli.show import decision_lines
from trimtab.decisions.state import LoopState
from trimtab.errors import TrimtabError
from trimtab.loop import failing
from trimtab.loop.accepted import remember
from trimtab.loop.home import Home
from trimtab.loop.owner import owner_of, owning
from trimtab.loop.turn import Loop

_EVIDENCE_EVERY = timedelta(seconds=15)
_STOP_SECONDS = 60.0


def up(file: Path | None, home: Path | None, port: int | None, every: float) -> None:
    """Turn the loop until SIGINT or SIGTERM, then stop every process that was started."""
    found = opened(file, home)
    refuse_new_name(found)
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    console = Console()
    with owning(found.home.make().owner, "trimtab up"):
        found.home.replay_marker.unlink(missing_ok=True)  # from now on it is a live loop's
        world = wiring.live_world(found.document, found.path, found.home, port)
        previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            remember(found.home, found.document, datetime.now(UTC))
            loop = Loop(found.document, world, _EVIDENCE_EVERY)
            _turn_until(stop, loop, console, every, found.home, Edits(found, _EVIDENCE_EVERY))
        finally:
            console.print("stopping: the router first, then the servers, then the log writer")
            world.close()
            for number, handler in previous.items():
                signal.signal(number, handler)
    console.print("stopped; state is kept, go on with: trimtab up")


def _turn_until(
    stop: threading.Event, loop: Loop, console: Console, every: float, home: Home, edits: Edits | None = None
) -> None:
    told_ready, changes = "", Changes()
    while not stop.is_set():
        began = time.monotonic()
        try:
            if edits is not None:
                loop, said = edits.taken_up(loop)
                if said:
                    console.print(f"{_clock()} {said}", markup=False, highlight=False, soft_wrap=True)
            turn = loop.turn(datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - whatever a turn stumbles over, the versions that serve go on serving
            # The next turn repeats this one; what cannot heal by itself is said again each time.
            told = _told(error, home.root / "controller.log")
            failing.note(home, datetime.now(UTC), told)
            console.print(f"{_clock()} this turn failed and is repeated: {told}", style="red", markup=False)
            stop.wait(every)
            continue
        failing.forget(home)
        for line in (*decision_lines(turn), *changes.told(turn)):
            console.print(f"{_clock()} {line}", markup=False, highlight=False, soft_wrap=True)
        told_ready = _tell_ready(loop, console, told_ready)
        stop.wait(max(0.0, min(every, 0.5 if _starting(turn.observed) else every) - (time.monotonic() - began)))


def _told(error: Exception, log: Path) -> str:
    """The error in a sentence; of one that nobody foresaw the traceback goes to the log."""
    if isinstance(error, TrimtabError):
        return str(error)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"{datetime.now(UTC).isoformat()}\n{''.join(traceback.format_exception(error))}\n")
    return f"{type(error).__name__}: {error}. This is a fault of trimtab; please report what {log} says"


def _starting(observed: object) -> bool:
    servers = observed.get("servers", {}) if isinstance(observed, dict) else {}
    return any(server["state"] == "starting" for server in servers.values())


def _tell_ready(loop: Loop, console: Console, told: str) -> str:
    state: LoopState = loop.state()
    views = loop.views()
    champion = views.get(state.champion or "")
    if champion is None or champion.state != "ready" or told == champion.version:
        return told
    name, address = loop.document.metadata.name, loop.world.router.address
    console.print(
        f"{_clock()} version {champion.version} is ready at http://{address}/v1/models/{name}:predict", soft_wrap=True
    )
    if not told:
        row = dict(wiring.example_row(loop.world, name, champion.version))
        body = json.dumps({"instances": [row]}, ensure_ascii=False)
        console.print(
            f"try: curl http://{address}/v1/models/{name}:predict -H 'x-request-id: first' -d {shlex.quote(body)}\n"
            f'then: curl http://{address}/v1/feedback -d \'{{"id": "first", "label": …}}\'',
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return champion.version


def _clock() -> str:
    return datetime.now().strftime("%H:%M:%S")


def down(file: Path | None, home: Path | None) -> None:
    """Ask the owner to stop and wait until it has."""
    found = opened_or_remembered(file, home)
    owner = owner_of(found.home.owner)
    console = Console()
    if owner is None:
        console.print(f"nothing runs on {found.home.root}", soft_wrap=True)
        return
    os.kill(int(owner["pid"]), signal.SIGTERM)
    give_up = time.monotonic() + _STOP_SECONDS
    while owner_of(found.home.owner) is not None:
        if time.monotonic() > give_up:
            raise TrimtabError(
                f"process {owner['pid']} did not stop within {_STOP_SECONDS:.0f} s. "
                f"Look at what it does, or: kill -9 {owner['pid']}"
            )
        time.sleep(0.05)
    console.print(f"stopped process {owner['pid']} ({owner['command']})")
