"""docs/pipelines.md, the part on KFP's UI: what it says of the file is what the file says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from trimtab.components import IMAGE

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs/pipelines.md").read_text().split("## In the UI of Kubeflow Pipelines")[1].split("\n## ")[0]
FILE = next(yaml.safe_load_all((ROOT / "pipelines/training-pipeline.yaml").read_text()))


def _table(head: str) -> list[list[str]]:
    rows = SECTION.split(head)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def test_the_table_holds_every_parameter_in_the_files_order_and_words() -> None:
    shown = FILE["root"]["inputDefinitions"]["parameters"]
    told = _table("| parameter | what the file says of it | put in |")
    assert [(name.strip("`"), words) for name, words, _ in told] == [
        (name, one["description"]) for name, one in shown.items()
    ]


def test_what_the_file_needs_is_marked() -> None:
    needed = {name for name, one in FILE["root"]["inputDefinitions"]["parameters"].items() if not one.get("isOptional")}
    marked = {name.strip("`") for name, _, put in _table("| parameter |") if put.startswith("**needed**")}
    assert marked == needed


def test_boxes_and_artifacts_are_there() -> None:
    boxes = re.findall(r"`(\w+)`", SECTION.split("a box a stage: ")[1].split(". Click")[0])
    tasks = [name for name in FILE["root"]["dag"]["tasks"] if not name.startswith("condition")]
    assert set(boxes) == set(tasks)
    for look, _ in _table("| look at | for |"):
        task, *names = re.findall(r"`(\w+)`", look)
        made = FILE["components"][f"comp-{task}"]["outputDefinitions"]
        known = {*made.get("artifacts", {}), *made.get("parameters", {})}
        assert set(names) <= known, look


def test_the_command_for_another_registry_changes_every_image() -> None:
    found = re.search(r"sed \"s#(.*?)#(.*?)#\" pipelines/training-pipeline.yaml", SECTION)
    assert found is not None
    images = {one["container"]["image"] for one in FILE["deploymentSpec"]["executors"].values()}
    assert images == {IMAGE}
    assert all(image.startswith(found[1]) for image in images)
