"""`trimtab up` whose state folder has no room left: it says what to do, gives no answer it cannot keep, and goes on."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from commands import csv, post, told, trimtab, until, up

from trimtab import wiring
from trimtab.cli.opening import opened
from trimtab.loop.home import Home

pytestmark = [pytest.mark.local, pytest.mark.slow]

ROW = {"weight": 44.0, "hindfoot": 26.0, "sex": "F", "plot": 3, "version": "field book 3"}
MEGABYTES = 96


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """Take all the room there is."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(b"\0" * size)
    return filler


def test_a_full_disk_is_said_costs_no_kept_answer_and_is_got_over(tmp_path: Path, small: Path) -> None:
    csv(tmp_path)
    trimtab(tmp_path, "init", "--label", "genus")
    home = small / "state"
    trimtab(tmp_path, "run", "--home", str(home))
    kept: list[str] = []

    def ask(id_: str) -> tuple[int, Any]:
        status, answer = post(f"{url}/v1/models/rodents:predict", {"instances": [ROW]}, {"x-request-id": id_})
        if status == 200:
            assert answer["predictions"] == ["Dipodomys"]
            kept.append(id_)
        return status, answer

    with up(tmp_path, "--home", str(home)) as running:
        url = running.address
        assert ask("before")[0] == 200
        filler = _fill(small)
        until(lambda: "this turn failed and is repeated" in running.log.read_text(), 60)
        assert "free some disk space" in " ".join(running.log.read_text().lower().split())
        for number in range(30):
            status, answer = ask(f"full-{number}")
            assert status == 200 or answer["error"], answer
        assert running.process.poll() is None
        filler.unlink()
        turns = wiring.ledger(opened(tmp_path, home).document, Home(home)).turns
        number = turns.latest().number  # type: ignore[union-attr]
        until(lambda: turns.latest().number > number + 1, 60)  # type: ignore[union-attr]
        until(lambda: ask("after")[0] == 200, 60)
        assert told(tmp_path, "status", "--home", str(home))["failing"] is None
        assert running.stop() == 0
    always = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    logged = set(wiring._logs(Home(home))[0].read(*always)["id"].to_pylist())
    assert set(kept) <= logged
