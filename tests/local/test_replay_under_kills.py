"""A replay whose processes are killed again and again loses no prediction."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from commands import TRIMTAB, csv, trimtab

pytestmark = [pytest.mark.local, pytest.mark.slow]

_PARTS = ("kserve.server", "serving.collector", "envoy")


def _victims(replay: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(replay.pid).children(recursive=True):
        try:
            if any(part in " ".join(process.cmdline()) for part in _PARTS):
                found.append(process)
        except psutil.NoSuchProcess:  # it ended while it was looked at
            pass
    return found


def test_servers_collector_and_router_killed_at_random_cost_no_answer(tmp_path: Path) -> None:
    csv(tmp_path, 900)
    trimtab(tmp_path, "init", "--label", "genus")
    span = ("--from", "2020-01-25", "--until", "2020-02-07", "--turn-days", "1")
    with (tmp_path / "replay.log").open("wb") as log:
        replay = subprocess.Popen([*TRIMTAB, "replay", *span, "--quiet"], cwd=tmp_path, stdout=log, stderr=log)
    generator = random.Random(7)
    killed: list[str] = []
    began = time.monotonic()
    next_kill = began
    try:
        while replay.poll() is None:
            assert time.monotonic() - began < 240, (tmp_path / "replay.log").read_text()
            now = time.monotonic()
            victims = _victims(replay) if len(killed) < 8 and now >= next_kill else []
            if len(victims) >= 3:  # all is up: model server, collector, router
                victim = generator.choice(victims)
                killed.append(next(part for part in _PARTS if part in " ".join(victim.cmdline())))
                victim.kill()
                next_kill = now + 1.0
            with contextlib.suppress(subprocess.TimeoutExpired):
                replay.wait(0.05)
    finally:
        replay.kill()
    assert replay.returncode == 0, (tmp_path / "replay.log").read_text()
    assert len(killed) >= 3
    summary = json.loads((tmp_path / ".trimtab/demo-summary.json").read_text())
    assert (summary["predictions"], summary["lost"], summary["labels_before_time"]) == (312, 0, 0)
