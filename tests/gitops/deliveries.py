"""Values that the tests of gitops deliver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trimtab.ports.delivery import Served, Wanted, Why

FILE = "releases/orders/release.yaml"


def served(version: str) -> Served:
    return Served(version, f"sha256:{version * 64}", Path("/models") / version)


def uri(bundle: Path) -> str:
    return f"s3://models/orders/{bundle.name}"


def step(percent: int) -> Wanted:
    return Wanted(served("1"), served("2"), percent)


def why(turn: int = 1, **decision: Any) -> Why:
    told = {"kind": "step", "version": "2", "sentence": "Version 2 gets more.", "evidence": {"requests": 7}}
    return Why(turn, [{**told, **decision}])


ALONE, TWO = Wanted(served("1")), Wanted(served("2"))
