"""The secret that pods of Kubeflow Pipelines get their keys from: named once, optional, on every task, documented."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from trimtab.engine.load import load
from trimtab.pipelines.stores import KEYS, SECRET

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["training", "monitoring"])
def test_every_task_may_read_it_and_none_needs_it(name: str) -> None:
    file = ROOT / f"pipelines/{name}-pipeline.yaml"
    document, platform = yaml.safe_load_all(file.read_text())
    told = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(told) == set(document["deploymentSpec"]["executors"])
    for config in told.values():
        (secret,) = config["secretAsEnv"]
        assert (secret["secretName"], secret["optional"]) == (SECRET, True)
        assert {one["envVar"]: one["secretKey"] for one in secret["keyToEnv"]} == {key: key for key in KEYS}
    assert not load(file).notes


def test_the_page_names_the_secret_and_its_keys() -> None:
    page = (ROOT / "docs/pipelines.md").read_text()
    for name in (SECRET, *KEYS):
        assert f"`{name}`" in page
