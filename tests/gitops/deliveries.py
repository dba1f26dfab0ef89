"""Values that the tests of gitops deliver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab.adapters.delivery.github import GitHub
from trimtab.adapters.delivery.gitlab import GitLab
from trimtab.adapters.delivery.requests import Requests
from trimtab.ports.delivery import Served, Wanted, Why
from trimtab.testing.forges import Forge
from trimtab.testing.github_host import GitHubHost

FILE = "releases/orders/release.yaml"


def served(version: str) -> Served:
    return Served(version, f"sha256:{version * 64}", Path("/models") / version)


def uri(served: Served) -> str:
    return f"s3://models/orders/{served.bundle.name}"


def step(percent: int) -> Wanted:
    return Wanted(served("1"), served("2"), percent)


def why(turn: int = 1, **decision: Any) -> Why:
    told = {"kind": "step", "version": "2", "sentence": "Version 2 gets more.", "evidence": {"requests": 7}}
    return Why(turn, [{**told, **decision}])


ALONE, TWO = Wanted(served("1")), Wanted(served("2"))


def requests_of(forge: Forge, token: str = "right", clock: Callable[[], float] = lambda: 0.0) -> Requests:
    kind = GitHub if isinstance(forge, GitHubHost) else GitLab
    return kind(forge.repository, "main", lambda: token, forge.url, clock)
