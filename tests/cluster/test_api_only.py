"""What any real API server can judge: the definition, its rules, and every object that the charts make."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from real_cluster import Kubectl

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/crd"), str(ROOT / "tests/helm")]

from rendering import NO_HELM, helms, rendered  # noqa: E402
from test_crd_rules import BROKEN  # noqa: E402
from test_crd_schema import EXAMPLES  # noqa: E402

pytestmark = pytest.mark.usefixtures("definition")


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_right_documents_are_taken(kubectl: Kubectl, text: str) -> None:
    kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", given=yaml.safe_load(text))


def test_contradictions_are_refused_with_their_sentence(kubectl: Kubectl) -> None:
    if "-trimtab" in json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]:
        pytest.skip("the API server for tests evaluates no CEL rules; tests/crd does")
    taken = []
    for text, said in BROKEN:
        ended = kubectl.run("create", "--dry-run=server", "-f", "-", given=yaml.safe_load(text))
        if ended.returncode == 0 or said not in ended.stderr:
            taken.append((said, ended.stderr))
    assert taken == []


@pytest.mark.skipif(not helms(), reason=NO_HELM)
def test_the_operators_chart_is_taken_and_its_pods_are_restricted(kubectl: Kubectl) -> None:
    objects = [
        {**one, "metadata": {**one["metadata"], "namespace": kubectl.namespace}}
        for one in rendered(helms()[-1], "trimtab", {})
        if one["kind"] != "CustomResourceDefinition"
    ]
    ended = kubectl.run("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", given=objects)
    assert ended.returncode == 0, ended.stderr
    assert "would violate PodSecurity" not in ended.stderr
