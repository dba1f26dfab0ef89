"""What a cluster would do, and did not always happen here: outputs that were not written, retries of pipelines."""

# ruff: noqa: PTH123

import contextlib
import re
import time
from pathlib import Path

import pytest
from kfp import dsl
from laboratory import Laboratory
from parts import IMAGE, fail_until, read, say

from trimtab.adapters.pipelines.local import LocalRunner
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.ports.pipelines import RunRequest


def test_an_importer_may_wait_for_who_writes_the_file(lab: Laboratory, tmp_path: Path) -> None:
    place = str(tmp_path / "later.txt")

    @dsl.pipeline(name="import-later-pipeline")
    def pipeline() -> str:
        written = put(path=place, text="later")
        imported = dsl.importer(artifact_uri=place, artifact_class=dsl.Dataset, reimport=True).after(written)
        return read(data=imported.output).output

    assert lab.run(pipeline).output == "later"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def put(path: str, text: str):
    with open(path, "w") as file:
        file.write(text)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def silent(how: str, file: dsl.OutputPath(str)) -> int:
    import os
    import sys

    if how == "killed":
        os._exit(0)
    if how == "left":
        sys.exit(0)
    if how != "unwritten":
        with open(file, "w") as out:
            out.write("there")
    return None if how == "none" else 3


@pytest.mark.parametrize(
    ("how", "output"), [("killed", "Output|file"), ("left", "Output|file"), ("unwritten", "file"), ("none", "Output")]
)
def test_an_output_that_is_not_written_fails_the_task(lab: Laboratory, how: str, output: str) -> None:
    @dsl.pipeline(name="silent-pipeline")
    def pipeline(how: str) -> int:
        return silent(how=how).outputs["Output"]

    assert lab.run(pipeline, how="well").output == 3
    ran = lab.run(pipeline, how=how)
    assert ran.states() == {"silent": "FAILED"}
    assert re.search(rf"without writing its output ({output}):", ran.tasks["silent"].exit_reason)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def remote(data: dsl.Output[dsl.Dataset]):
    data.uri = "gs://bucket/data"


def test_an_artifact_that_is_sent_to_another_machine_fails_the_task(lab: Laboratory) -> None:
    @dsl.pipeline(name="sent-pipeline")
    def pipeline() -> str:
        return read(data=remote().outputs["data"]).output

    ran = lab.run(pipeline)
    assert ran.states() == {"remote": "FAILED", "read": "SKIPPED"}
    assert "artifact data was given the uri gs://bucket/data, which is not on this machine" in ran.run.reason


def test_texts_over_fields_of_two_types_in_nested_loops(lab: Laboratory) -> None:
    @dsl.pipeline(name="fields-pipeline")
    def pipeline() -> list[str]:
        with (
            dsl.ParallelFor([{"a": 1, "b": "p"}, {"a": 2, "b": "q"}]) as outer,
            dsl.ParallelFor(["x", "y"]) as middle,
            dsl.ParallelFor([10]) as inner,
        ):
            said = say(text=f"{outer.b}{outer.a}{middle}{inner}")
        return dsl.Collected(said.output)

    assert lab.run(pipeline).output == [[["p1x10"], ["p1y10"]], [["q2x10"], ["q2y10"]]]


def test_a_retried_pipeline_counts_its_attempts_and_keeps_what_they_said(lab: Laboratory, marks: Path) -> None:
    @dsl.pipeline(name="inner-pipeline")
    def inner(folder: str) -> int:
        return fail_until(folder=folder, tries=3).output

    @dsl.pipeline(name="outer-pipeline")
    def outer(folder: str) -> int:
        return inner(folder=folder).set_retry(2, backoff_duration="0s").output

    seen: list[tuple[str, int, str]] = []
    ran = lab.run(
        outer,
        folder=str(marks),
        observer=lambda task: (
            seen.append((task.state, task.attempt, task.exit_reason)) if task.path == "inner-pipeline" else None
        ),
    )
    assert ran.run.state == "SUCCEEDED"
    assert (ran.tasks["inner-pipeline"].state, ran.tasks["inner-pipeline"].attempt) == ("SUCCEEDED", 3)
    assert ran.tasks["inner-pipeline/fail-until"].attempt == 3
    assert "--- attempt 2" in ran.log("inner-pipeline/fail-until")
    assert [(state, attempt) for state, attempt, _ in seen] == [
        ("RUNNING", 1),
        ("PENDING", 1),
        ("RUNNING", 2),
        ("PENDING", 2),
        ("RUNNING", 3),
        ("SUCCEEDED", 3),
    ]
    assert "tried again after 0 s" in seen[1][2]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def whereabouts() -> str:
    import os

    return os.getcwd()  # noqa: PTH109


def test_tasks_begin_in_the_folder_that_the_loop_counts_its_paths_from(lab: Laboratory, tmp_path: Path) -> None:
    @dsl.pipeline(name="where-pipeline")
    def pipeline() -> str:
        return whereabouts().output

    (tmp_path / "loop").mkdir()
    with contextlib.closing(LocalRunner(MemoryRuns(), lab.runs, begin_in=tmp_path / "loop")) as runner:
        runner.start(RunRequest("where", str(lab.compile(pipeline)), {}))
        give_up = time.monotonic() + 60
        while (view := runner.look("where")) is None or view.state == "RUNNING":
            assert time.monotonic() < give_up
            time.sleep(0.01)
    assert view.output == {"Output": str(tmp_path / "loop")}
