"""Every command in README and docs does what the page says, in the order of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import up

from trimtab.testing.kfp_api import KfpApi

pytestmark = [pytest.mark.local, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# pages whose commands have tests of their own
ELSEWHERE = {
    "docs/engine.md": "tests/engine",
    "docs/kubernetes.md": "tests/operator/test_kubernetes_page.py",
    "docs/gitops.md": "tests/gitops/test_page.py",
}


def commands(page: str) -> Iterator[str]:
    """The command lines of a page's `sh` blocks, continued lines joined, comments left out."""
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.S):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*$", "", line).strip()
            if command:
                yield command


def orders(folder: Path, columns: list[str]) -> None:
    """A person's CSV, some months of 2025."""
    generator = np.random.default_rng(3)
    n = 900
    frame = pd.DataFrame(
        {
            "order": [f"o{number}" for number in range(n)],
            "at": pd.Series(pd.date_range("2025-05-01", periods=n, freq="4h")).dt.strftime("%Y-%m-%d %H:%M:%S"),
            "amount": np.round(generator.gamma(2, 40, n), 2),
            "country": generator.choice(["NO", "SE", "DE"], n),
            "items": generator.integers(1, 9, n),
        }
    )
    chance = 1 / (1 + np.exp(-(frame["amount"] / 8 - 12 + (frame["country"] == "DE") * 6)))
    frame["fraud"] = np.where(generator.random(n) < chance, "yes", "no")
    frame[columns].to_csv(folder / "orders.csv", index=False)


def shell(command: str, folder: Path) -> str:
    """Run it as a person would, this environment's trimtab first on the path; returns its stdout."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        ("README.md", ["order", "at", "amount", "country", "fraud"]),
        ("docs/first-loop.md", ["order", "at", "amount", "country", "items", "fraud"]),
    ],
)
def test_a_newcomers_page(page: str, columns: list[str], tmp_path: Path) -> None:
    orders(tmp_path, columns)
    todo = [command for command in commands(page) if not command.startswith("make ")]
    served = todo.index("trimtab up")
    for command in todo[:served]:
        shell(command, tmp_path)
    with up(tmp_path) as running:
        for command in todo[served + 1 :]:
            if command.startswith("curl "):
                answer = json.loads(shell(command.replace("localhost:8080", running.address), tmp_path))
                assert "error" not in answer
            elif not command.startswith("trimtab replay"):
                assert shell(command, tmp_path)
    for command in todo[served + 1 :]:
        if command.startswith("trimtab replay"):
            assert "report:" in shell(command.replace("/tmp/trial", str(tmp_path / "trial")), tmp_path)


def test_the_pipelines_page(tmp_path: Path) -> None:
    orders(tmp_path, ["order", "at", "amount", "country", "fraud"])
    shell("trimtab init orders.csv --label fraud --time at", tmp_path)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    with KfpApi() as api:
        for command in commands("docs/pipelines.md"):
            shell(command.replace("http://localhost:8888", api.url), tmp_path)
            if "--every" in command:
                assert len(api.recurring_runs) == ("--every off" not in command)
        assert [run["display_name"] for run in api.runs.values()] == ["orders training"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_that_are_named_exist(page: str) -> None:
    targets = [command for command in commands(page) if command.startswith("make ")]
    assert targets
    for command in targets:
        shell(f"{command} --dry-run", ROOT)


def test_no_page_with_commands_is_forgotten() -> None:
    tested = {"README.md", "CONTRIBUTING.md", "docs/first-loop.md", "docs/pipelines.md", *ELSEWHERE}
    assert {page for page in PAGES if any(commands(page))} <= tested


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
