"""kubectl for tests, and waiting with a bound."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

Json = dict[str, Any]
KUBECTL = os.environ.get("TRIMTAB_KUBECTL") or "kubectl"


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace."""

    context: str
    namespace: str = ""

    def run(self, *words: str, given: Any = None, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run it; `given` goes in as YAML."""
        place = ["--namespace", self.namespace] if self.namespace else []
        text = None if given is None else yaml.safe_dump_all(given if isinstance(given, list) else [given])
        command = [KUBECTL, "--context", self.context, *place, *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds, check=False)

    def __call__(self, *words: str, given: Any = None, seconds: float = 60) -> str:
        """Its output; fails the test with what it said."""
        ended = self.run(*words, given=given, seconds=seconds)
        assert ended.returncode == 0, f"kubectl {' '.join(words)}: {ended.stderr}"
        return ended.stdout

    def get(self, *words: str) -> Json:
        """One object, or a list of them."""
        return dict(json.loads(self("get", *words, "-o", "json")))


def eventually(found: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until it is true."""
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(1)
    return value


def ready_nodes(kubectl: Kubectl) -> list[Json]:
    """Nodes that take pods."""
    found = kubectl.run("get", "nodes", "-o", "json")
    if found.returncode:
        return []
    return [
        one
        for one in json.loads(found.stdout)["items"]
        if not one["spec"].get("unschedulable")
        and any(each["type"] == "Ready" and each["status"] == "True" for each in one["status"].get("conditions") or ())
    ]
