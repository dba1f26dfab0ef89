"""A turn that fails, for whatever reason, is said and repeated; what serves goes on."""

from __future__ import annotations

import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trimtab.cli.live import _turn_until
from trimtab.errors import StorageFull
from trimtab.loop import failing
from trimtab.loop.home import Home


class _Failing:
    """A loop whose turns fail; the third failure ends the test."""

    def __init__(self, error: Exception, stop: threading.Event) -> None:
        self.turns, self._error, self._stop = 0, error, stop

    def turn(self, _now: Any) -> Any:
        self.turns += 1
        if self.turns == 3:
            self._stop.set()
        raise self._error


@pytest.mark.parametrize(
    ("error", "said", "logged"),
    [
        (StorageFull("the ledger cannot be written: free some space"), "free some space", False),
        (ZeroDivisionError("nobody foresaw this"), "controller.log", True),
    ],
)
def test_a_failing_turn_is_repeated(tmp_path: Path, error: Exception, said: str, logged: bool) -> None:
    stop = threading.Event()
    loop: Any = _Failing(error, stop)
    out = StringIO()
    home = Home(tmp_path)
    log = tmp_path / "controller.log"
    _turn_until(stop, loop, Console(file=out, width=300), 0.0, home)
    assert loop.turns == 3
    assert out.getvalue().count(said) == 3
    known = failing.last(home)
    assert known is not None
    assert known["times"] == 3
    assert said in known["sentence"]
    failing.forget(home)
    assert failing.last(home) is None
    assert "Traceback" not in out.getvalue()
    assert log.exists() is logged
    if logged:
        assert "ZeroDivisionError: nobody foresaw this" in log.read_text()
