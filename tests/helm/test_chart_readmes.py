"""Every helm command in the READMEs of the charts is one that helm takes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from monitor_switches import DOCUMENT
from rendering import ROOT, helm

READMES = ("model-release", "drift-monitor")


@pytest.mark.parametrize("chart", READMES)
def test_the_commands_render(executable: str, chart: str, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text(DOCUMENT)
    text = (ROOT / "helm" / chart / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("helm ")]
    assert len(lines) > 1
    given: list[str] = []
    for line in lines:
        _, verb, name, folder, *flags = shlex.split(line)
        if "--reset-values" in flags:
            given = []
        flags = [flag for flag in flags if flag not in ("--reuse-values", "--reset-values")]
        given += [flag.replace("loop.yaml", str(tmp_path / "loop.yaml")) for flag in flags]
        upgrade = ["--is-upgrade"] if verb == "upgrade" else []
        done = helm(executable, "template", name, str(ROOT / folder), *upgrade, *given)
        assert done.returncode == 0, (line, done.stderr)
        assert "\nkind: " in done.stdout
