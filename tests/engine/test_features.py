"""What the KFP DSL can say, run for real and checked by its result."""

# ruff: noqa: PTH103, PTH109, PTH118, PTH123, PTH208, UP014

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from kfp import dsl
from laboratory import Laboratory
from parts import (
    IMAGE,
    add,
    fail,
    fail_until,
    join,
    last_words,
    note,
    numbers,
    people,
    read,
    rest,
    say,
    shown,
    split,
    total,
    write,
)

from trimtab.engine.warm import WarmHost
from trimtab.errors import PipelineRefused


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def types(whole: int, real: float, flag: bool, text: str, many: list, table: dict, nothing: str = None) -> str:  # noqa: RUF013
    import json

    kinds = [type(one).__name__ for one in (whole, real, flag, text, many, table, nothing)]
    return json.dumps([kinds, whole, real, flag, text, many, table, nothing])


@dsl.pipeline(name="types-pipeline")
def typed(
    whole: int = 3,
    real: float = 2.0,
    flag: bool = True,
    text: str = "t",
    many: list = [1, 2.5, "x", [True]],  # noqa: B006
    table: dict = {"n": 1, "deep": {"f": 0.5}},  # noqa: B006
) -> str:
    return types(whole=whole, real=real, flag=flag, text=text, many=many, table=table).output


KINDS = ["int", "float", "bool", "str", "list", "dict", "NoneType"]


def test_defaults_keep_their_types(lab: Laboratory) -> None:
    found = json.loads(lab.run(typed).output)
    assert found == [KINDS, 3, 2.0, True, "t", [1, 2.5, "x", [True]], {"n": 1, "deep": {"f": 0.5}}, None]


def test_given_values_keep_their_types(lab: Laboratory) -> None:
    found = lab.run(typed, whole=-(2**52), real=7, flag=False, text="", many=[], table={}).output
    assert json.loads(found) == [KINDS, -(2**52), 7.0, False, "", [], {}, None]
    assert '"float"' in found


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def counted(config: dict, sizes: list[int]) -> int:
    return len(range(config["n"])) + sum(sizes)


@dsl.pipeline(name="constants-pipeline")
def constants() -> int:
    return counted(config={"n": 3}, sizes=[10, 20]).output


def test_whole_numbers_inside_lists_and_dicts_are_ints_as_on_a_cluster(lab: Laboratory) -> None:
    assert lab.run(constants).output == 33


@dsl.pipeline(name="tuple-pipeline")
def tuples(text: str) -> NamedTuple("Both", first=str, n=int):  # type: ignore[valid-type]
    halves = split(text=text)
    both = NamedTuple("Both", first=str, n=int)
    return both(first=halves.outputs["left"], n=halves.outputs["size"])


def test_named_outputs(lab: Laboratory) -> None:
    assert lab.run(tuples, text="abcdef").output == {"first": "abc", "n": 6}


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    classes: dsl.Output[dsl.ClassificationMetrics],
    sliced: dsl.Output[dsl.SlicedClassificationMetrics],
    page: dsl.Output[dsl.HTML],
    text: dsl.Output[dsl.Markdown],
    other: dsl.Output[dsl.Artifact],
    count: dsl.OutputPath(int),  # type: ignore[valid-type]
):
    import os

    model.metadata["framework"] = "none"
    os.makedirs(model.path)
    with open(os.path.join(model.path, "weights"), "w") as file:
        file.write("w")
    metrics.log_metric("accuracy", 0.9)
    classes.log_confusion_matrix(["a", "b"], [[3, 1], [0, 4]])
    sliced.metadata["evaluationSlices"] = [{"slice": "a"}]
    for one in (page, text, other):
        with open(one.path, "w") as file:
            file.write(one.name)
    with open(count, "w") as file:
        file.write("7")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def inspect(model: dsl.Input[dsl.Model], metrics: dsl.Input[dsl.Metrics], page: dsl.InputPath("HTML")) -> str:  # type: ignore[valid-type]
    import os

    with open(page) as file:
        return f"{os.listdir(model.path)} {model.metadata['framework']} {metrics.metadata['accuracy']} {file.read()}"


@dsl.pipeline(name="artifact-types-pipeline")
def artifact_types() -> NamedTuple("All", told=str, count=int, model=dsl.Model):  # type: ignore[valid-type]
    made = evaluate()
    told = inspect(model=made.outputs["model"], metrics=made.outputs["metrics"], page=made.outputs["page"])
    return NamedTuple("All", told=str, count=int, model=dsl.Model)(
        told=told.output, count=made.outputs["count"], model=made.outputs["model"]
    )


def test_every_artifact_type_with_its_metadata(lab: Laboratory) -> None:
    ran = lab.run(artifact_types)
    assert ran.output["told"] == "['weights'] none 0.9 page"
    assert ran.output["count"] == 7
    assert Path(ran.output["model"]) == ran.folder / "evaluate" / "artifacts" / "model"
    outputs = ran.tasks["evaluate"].outputs
    assert {name: outputs[name]["type"] for name in ("model", "classes", "sliced", "text")} == {
        "model": "system.Model",
        "classes": "system.ClassificationMetrics",
        "sliced": "system.SlicedClassificationMetrics",
        "text": "system.Markdown",
    }
    assert outputs["classes"]["metadata"]["confusionMatrix"]["rows"] == [{"row": [3, 1]}, {"row": [0, 4]}]


@dsl.pipeline(name="branches-pipeline")
def branches(n: int, name: str = "x") -> str:
    with dsl.If(n > 10):
        with dsl.If(name == "x"):
            say(text="deep")
        big = say(text="big")
    with dsl.Elif(n == 10):
        ten = say(text="ten")
    with dsl.Else():
        small = say(text=f"small {n}")
    return say(text=dsl.OneOf(big.output, ten.output, small.output)).output


@pytest.mark.parametrize(("n", "text"), [(11, "big"), (10, "ten"), (-5, "small -5")])
def test_if_elif_else_and_one_of(lab: Laboratory, n: int, text: str) -> None:
    ran = lab.run(branches, n=n)
    assert ran.output == text
    assert list(ran.states().values()).count("SKIPPED") == 2


@dsl.pipeline(name="fields-loop-pipeline")
def fields(count: int) -> str:
    with dsl.ParallelFor(people(count=count).output, parallelism=2) as one:
        older = add(a=one.age, b=10)
        said = say(text=one.who)
    return say(
        text=f"{shown(value=dsl.Collected(older.output)).output} {join(texts=dsl.Collected(said.output)).output}"
    ).output


def test_fields_of_loop_items(lab: Laboratory) -> None:
    assert lab.run(fields, count=3).output == "[10, 11, 12] n0,n1,n2"


@dsl.pipeline(name="writing-pipeline")
def writing(texts: list[str]) -> list[dsl.Dataset]:
    with dsl.ParallelFor(texts) as text:
        made = write(text=text)
    return dsl.Collected(made.outputs["data"])


@dsl.pipeline(name="artifact-loop-pipeline")
def artifact_loop(texts: list[str]) -> str:
    with dsl.ParallelFor(writing(texts=texts).output) as one:
        back = read(data=one)
    return join(texts=dsl.Collected(back.output)).output


def test_a_loop_over_collected_artifacts(lab: Laboratory) -> None:
    assert lab.run(artifact_loop, texts=["a", "b"]).output == "a,b"


@dsl.pipeline(name="inner-pipeline")
def inner(x: int, note: str = "inner") -> NamedTuple("Inner", y=int, data=dsl.Dataset):  # type: ignore[valid-type]
    with dsl.ParallelFor([1, 2]) as item:
        more = add(a=item, b=x)
    made = write(text=note)
    return NamedTuple("Inner", y=int, data=dsl.Dataset)(
        y=total(numbers=dsl.Collected(more.output)).output, data=made.outputs["data"]
    )


@dsl.pipeline(name="nested-pipeline")
def nested(x: int) -> str:
    first = inner(x=x)
    second = inner(x=first.outputs["y"], note=f"x was {x}")
    return say(text=f"{second.outputs['y']} {read(data=second.outputs['data']).output}").output


def test_pipelines_as_components(lab: Laboratory) -> None:
    ran = lab.run(nested, x=5)
    assert ran.output == "29 x was 5"  # (1+5)+(2+5)=13, (1+13)+(2+13)=29
    assert "inner-pipeline-2/for-loop-2[1]/add" in ran.tasks


@dsl.pipeline(name="exit-pipeline")
def with_exit(folder: str, wrong: bool):
    words = last_words(folder=folder)
    with dsl.ExitHandler(words, name="guarded"):
        before = say(text="before")
        with dsl.If(wrong == True):  # noqa: E712
            fail(message="on purpose").after(before)


@pytest.mark.parametrize("wrong", [True, False])
def test_the_exit_task_runs_whatever_happened_and_is_told(lab: Laboratory, marks: Path, wrong: bool) -> None:
    ran = lab.run(with_exit, folder=str(marks), wrong=wrong)
    words = json.loads((marks / "last-words.json").read_text())
    assert ran.run.state == ("FAILED" if wrong else "SUCCEEDED")
    assert words["state"] == ("FAILED" if wrong else "SUCCEEDED")
    assert words["task"] == "exit-handler-1"
    assert "exit-pipeline" in words["job"]
    assert ("on purpose" in words["message"]) if wrong else words["message"] is None
    assert ran.states()["last-words"] == "SUCCEEDED"


@dsl.pipeline(name="ignoring-pipeline")
def ignoring(folder: str):
    broken = fail()
    say(text=broken.output)
    note(folder=folder, name="cleaned").after(broken).ignore_upstream_failure()
    note(folder=folder, name="beside")


def test_ignore_upstream_failure_and_independent_branches(lab: Laboratory, marks: Path) -> None:
    ran = lab.run(ignoring, folder=str(marks))
    assert ran.run.state == "FAILED"
    assert ran.states() == {"fail": "FAILED", "note": "SUCCEEDED", "note-2": "SUCCEEDED", "say": "SKIPPED"}
    assert sorted(path.name.split("-")[0] for path in marks.glob("*-*")) == ["beside", "cleaned"]
    assert ran.tasks["fail"].exit_reason == "exit code 1: RuntimeError: it went wrong"
    assert "fail, which it waits for, failed" in ran.tasks["say"].exit_reason


@dsl.pipeline(name="retry-pipeline")
def retried(folder: str, tries: int) -> int:
    return fail_until(folder=folder, tries=tries).set_retry(2, backoff_duration="0s").output


def test_retries(lab: Laboratory, marks: Path) -> None:
    ran = lab.run(retried, folder=str(marks), tries=3)
    assert ran.output == 3
    assert ran.tasks["fail-until"].attempt == 3
    assert ran.log("fail-until").count("--- attempt") == 2


def test_no_more_retries_than_asked_for(lab: Laboratory, marks: Path) -> None:
    ran = lab.run(retried, folder=str(marks), tries=9)
    assert ran.run.state == "FAILED"
    assert "RuntimeError: try 3" in ran.tasks["fail-until"].exit_reason
    assert ran.tasks["fail-until"].attempt == 3


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def surroundings() -> str:
    import os
    import sys

    return f"{os.environ['COLOUR']} {os.environ['RUN']} {os.getcwd()} {len(sys.argv)}"


@dsl.pipeline(name="surroundings-pipeline")
def with_environment(colour: str) -> str:
    task = surroundings()
    task.set_env_variable("COLOUR", "green").set_env_variable("RUN", dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    task.set_display_name("Look around").set_cpu_limit("1").set_memory_limit("1G")
    return task.output


def test_environment_and_folder_of_a_task(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = lab.run(with_environment, colour="green")
    colour, run, folder, _ = ran.output.split()
    assert (colour, run) == ("green", ran.run.run_id)
    assert folder == str(Path.cwd())


@dsl.pipeline(name="names-pipeline")
def with_names(prefix: str) -> str:
    return say(
        text=f"{prefix}|{dsl.PIPELINE_JOB_NAME_PLACEHOLDER}|{dsl.PIPELINE_TASK_NAME_PLACEHOLDER}|{dsl.PIPELINE_ROOT_PLACEHOLDER}"
    ).output


def test_placeholders_and_values_that_look_like_them(lab: Laboratory) -> None:
    ran = lab.run(with_names, prefix="{{$.pipeline_root}}")
    given, job, task, root = ran.output.split("|")
    assert given == "{{$.pipeline_root}}"
    assert (job, task, root) == (f"names-pipeline-{ran.run.run_id}", "say", str(ran.folder))


def test_importer(lab: Laboratory, tmp_path: Path) -> None:
    source = tmp_path / "given.txt"
    source.write_text("imported")

    @dsl.pipeline(name="import-pipeline")
    def pipeline(uri: str) -> str:
        imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, metadata={"by": "hand", "n": 2})
        return read(data=imported.output).output

    for uri in (str(source), f"file://{source}"):
        ran = lab.run(pipeline, uri=uri)
        assert ran.output == "imported"
        assert ran.tasks["importer"].outputs["artifact"]["metadata"] == {"by": "hand", "n": 2}
    assert lab.run(pipeline, uri="").run.state == "FAILED"
    for uri, sentence in {str(tmp_path / "missing"): "is not there", "relative/path": "is a relative path"}.items():
        with pytest.raises(PipelineRefused, match=rf"parameter uri: .*{sentence}"):
            lab.run(pipeline, uri=uri)
    for uri in ("gs://bucket/x", "s3://bucket/x"):
        with pytest.raises(PipelineRefused, match=r"parameter uri: .*not on this machine"):
            lab.run(pipeline, uri=uri)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def maybe(data: dsl.Input[dsl.Dataset] = None, text: str = None) -> str:  # noqa: RUF013
    return f"{data is None} {text}"


@dsl.pipeline(name="optional-pipeline")
def optional(text: str = None) -> str:  # noqa: RUF013
    return maybe(text=text).output


def test_optional_inputs_that_were_not_given(lab: Laboratory) -> None:
    assert lab.run(optional).output == "True None"
    assert lab.run(optional, text="a").output == "True a"


@dsl.pipeline(name="wide-pipeline")
def wide():
    for _ in range(4):
        rest(seconds=0.8)


def test_ready_tasks_run_at_the_same_time(lab: Laboratory) -> None:
    ran = lab.run(wide)
    spans = [(task.started, task.ended) for task in ran.tasks.values()]
    assert max(started for started, _ in spans) < min(ended for _, ended in spans)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def span(item: int) -> list:
    import time

    began = time.time()
    time.sleep(0.15)
    return [began, time.time()]


@dsl.pipeline(name="limited-pipeline")
def limited() -> str:
    with dsl.ParallelFor([1, 2, 3, 4, 5], parallelism=2) as item:
        one = span(item=item)
    return shown(value=dsl.Collected(one.output)).output


def test_the_parallelism_of_a_loop_is_kept(lab: Laboratory) -> None:
    spans = json.loads(lab.run(limited, jobs=8).output)
    assert max(sum(began <= at < ended for began, ended in spans) for at, _ in spans) == 2


def test_no_more_tasks_than_jobs(lab: Laboratory) -> None:
    running: set[str] = set()
    most = 0

    def watch(task) -> None:  # type: ignore[no-untyped-def]
        nonlocal most
        (running.add if task.state == "RUNNING" else running.discard)(task.path)
        most = max(most, len(running))

    lab.run(wide, jobs=1, observer=watch)
    assert most == 1


def test_heavy_imports_are_paid_once(lab: Laboratory, host: WarmHost) -> None:
    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def was_loaded() -> bool:
        import sys

        found = "pandas" in sys.modules
        import pandas  # noqa: F401

        return found

    @dsl.pipeline(name="loaded-pipeline")
    def pipeline() -> bool:
        return was_loaded().output

    assert lab.run(pipeline).output is True


def test_random_numbers_differ_between_tasks(lab: Laboratory) -> None:
    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def draw() -> str:
        import random

        import numpy as np

        return f"{random.random()} {np.random.random()}"

    @dsl.pipeline(name="random-pipeline")
    def pipeline() -> str:
        first, second = draw(), draw()
        return say(text=f"{first.output} {second.output}").output

    found = lab.run(pipeline).output.split()
    assert len(set(found)) == 4


def test_nested_collected_numbers(lab: Laboratory) -> None:
    @dsl.pipeline(name="nested-collected-pipeline")
    def pipeline(count: int) -> str:
        with dsl.ParallelFor([1, 2, 3]) as outer:
            with dsl.ParallelFor(numbers(count=count).output) as small:
                one = add(a=outer, b=small)
            row = total(numbers=dsl.Collected(one.output))
        return shown(value=dsl.Collected(row.output)).output

    assert lab.run(pipeline, count=3).output == "[6, 9, 12]"
    assert lab.run(pipeline, count=0).output == "[0, 0, 0]"


@dsl.pipeline(name="unsteady-pipeline")
def unsteady(folder: str, tries: int) -> int:
    return fail_until(folder=folder, tries=tries).output


@dsl.pipeline(name="retried-pipeline")
def retried_pipeline(folder: str, tries: int) -> int:
    return unsteady(folder=folder, tries=tries).set_retry(2, backoff_duration="0s").output


def test_retries_of_a_pipeline_used_as_a_component(lab: Laboratory, marks: Path) -> None:
    assert lab.run(retried_pipeline, folder=str(marks), tries=3).output == 3


def test_a_pipeline_that_fails_too_often(lab: Laboratory, marks: Path) -> None:
    assert lab.run(retried_pipeline, folder=str(marks), tries=4).run.state == "FAILED"
    assert len(list(marks.iterdir())) == 3


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def unmeasured(metrics: dsl.Output[dsl.Metrics], bad: bool) -> dict:
    metrics.log_metric("auc", float("nan"))
    return {"x": float("inf") if bad else 1}


@dsl.pipeline(name="unmeasured-pipeline")
def measuring(bad: bool) -> dict:
    return unmeasured(bad=bad).outputs["Output"]


def test_numbers_that_json_has_not(lab: Laboratory) -> None:
    ran = lab.run(measuring, bad=False)
    assert ran.output == {"x": 1}
    assert ran.tasks["unmeasured"].outputs["metrics"]["metadata"] == {"auc": "NaN"}
    assert "output Output" in lab.run(measuring, bad=True).run.reason


@dsl.pipeline(name="workspace-pipeline", pipeline_config=dsl.PipelineConfig(workspace=dsl.WorkspaceConfig(size="1Gi")))
def with_workspace() -> str:
    first = note(folder=dsl.WORKSPACE_PATH_PLACEHOLDER, name="first")
    return say(text=dsl.WORKSPACE_PATH_PLACEHOLDER).after(first).output


def test_a_workspace_is_a_folder_that_tasks_share(lab: Laboratory) -> None:
    folder = Path(lab.run(with_workspace).output)
    assert [path.name.partition("-")[0] for path in folder.iterdir()] == ["first"]


def test_tasks_may_have_any_name(lab: Laboratory) -> None:
    @dsl.component(base_image=IMAGE, install_kfp_package=False)
    def lock() -> str:
        return "kept"

    @dsl.pipeline(name="lock-pipeline")
    def pipeline() -> str:
        return lock().output

    assert lab.run(pipeline).output == "kept"


@dsl.pipeline(name="chain-of-skips-pipeline")
def chain_of_skips(go: bool):
    with dsl.If(go == True):  # noqa: E712
        used = say(text=fail().output)
        say(text="only after").after(used)
    with dsl.If(go == False):  # noqa: E712
        add(a=1)


def test_what_waits_for_a_skipped_task_is_skipped(lab: Laboratory) -> None:
    ran = lab.run(chain_of_skips, go=True)
    assert ran.states() == {
        "condition-1/fail": "FAILED",
        "condition-1/say": "SKIPPED",
        "condition-1/say-2": "SKIPPED",
        "condition-2": "SKIPPED",
    }
    ran = lab.run(chain_of_skips, go=False)
    assert (ran.run.state, ran.states()) == ("SUCCEEDED", {"condition-1": "SKIPPED", "condition-2/add": "SUCCEEDED"})
