"""What cannot be run is refused by its name before anything is started."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl, kubernetes
from laboratory import Laboratory
from parts import IMAGE, add, say

from trimtab.engine.load import load
from trimtab.errors import PipelineRefused


@dsl.pipeline(name="plain-pipeline")
def plain(x: int, text: str = "t", flag: bool = False, many: list = [], table: dict = {}) -> int:  # noqa: B006
    with dsl.If(text == "t"):
        say(text=text)
    return add(a=x).output


def refused(lab: Laboratory, pipeline: Any, **parameters: Any) -> str:
    with pytest.raises(PipelineRefused) as caught:
        lab.run(pipeline, **parameters)
    assert not list(lab.store.runs())
    assert not lab.runs.exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "parameter x (an integer) is missing: give -p x=..."),
        ({"x": "1"}, "parameter x: expected an integer, found '1'"),
        ({"x": 1.5}, "parameter x: expected an integer, found 1.5"),
        ({"x": True}, "parameter x: expected an integer, found True"),
        ({"x": 1, "text": 2}, "parameter text: expected a string, found 2"),
        ({"x": 1, "flag": 1}, "parameter flag: expected true or false, found 1"),
        ({"x": 1, "many": "[]"}, "parameter many: expected a list, found '[]'"),
        ({"x": 1, "table": []}, "parameter table: expected a dict, found []"),
        ({"x": 1, "txet": "a"}, "unknown parameter txet: did you mean text?"),
        ({"x": float("nan")}, "parameter x: expected an integer"),
        ({"x": 1, "many": [float("inf")]}, "parameter many"),
        ({"x": 1, "many": [object()]}, "parameter many"),
        ({"x": 1, "text": "x" * 20_000_000}, "pass data as an artifact"),
    ],
)
def test_parameters(lab: Laboratory, given: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(lab, plain, **given)


def test_all_problems_at_once(lab: Laboratory) -> None:
    sentence = refused(lab, plain, y=1, flag="x")
    assert all(part in sentence for part in ("parameter x", "unknown parameter y", "parameter flag"))


@dsl.container_component
def container() -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="alpine", command=["echo"], args=["hello"])


@dsl.component(base_image=IMAGE, install_kfp_package=False, packages_to_install=["no-such-package-here==1.0"])
def needs_packages() -> str:
    return ""


@dsl.component(base_image=IMAGE, packages_to_install=["pyyaml>=5", 'tomli; python_version < "3"'])
def has_packages() -> str:
    import yaml

    return yaml.__name__


def _with(change: Callable[[Any], Any]) -> Any:
    @dsl.pipeline(name="changed-pipeline")
    def pipeline() -> str:
        task = say(text="a")
        change(task)
        return task.output

    return pipeline


def _of(component: Any) -> Any:
    @dsl.pipeline(name="one-pipeline")
    def pipeline() -> None:
        component()

    return pipeline


def _imports(uri: str) -> Any:
    return _of(lambda: dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset))


@pytest.mark.parametrize(
    ("pipeline", "parts"),
    [
        (_of(container), ["exec-container", "alpine", "needs a container"]),
        (_of(needs_packages), ["exec-needs-packages", "no-such-package-here==1.0", "not installed"]),
        (_imports("gs://bucket/x"), ["gs://bucket/x", "not on this machine", "download it"]),
        (_imports("s3://bucket/x"), ["s3://bucket/x", "not on this machine"]),
        (_with(lambda task: kubernetes.use_secret_as_env(task, "s", {"k": "E"})), ["exec-say", "secretAsEnv"]),
        (_with(lambda task: kubernetes.use_secret_as_volume(task, "s", "/m")), ["secretAsVolume"]),
        (_with(lambda task: kubernetes.mount_pvc(task, "p", "/m")), ["pvcMount"]),
        (_with(lambda task: kubernetes.use_config_map_as_env(task, "s", {"k": "E"})), ["configMapAsEnv"]),
        (_with(lambda task: kubernetes.use_field_path_as_env(task, "E", "metadata.name")), ["fieldPathAsEnv"]),
        (_with(lambda task: kubernetes.empty_dir_mount(task, "v", "/m")), ["emptyDirMounts"]),
        (
            _with(lambda task: task.set_env_variable("W", dsl.WORKSPACE_PATH_PLACEHOLDER)),
            ["WORKSPACE_PATH_PLACEHOLDER needs"],
        ),
    ],
)
def test_what_needs_a_cluster(lab: Laboratory, pipeline: Any, parts: list[str]) -> None:
    sentence = refused(lab, pipeline)
    assert all(part in sentence for part in parts), sentence


def test_satisfied_packages_are_no_reason(lab: Laboratory) -> None:
    @dsl.pipeline(name="satisfied-pipeline")
    def pipeline() -> str:
        return has_packages().output

    assert lab.run(pipeline).output == "yaml"


@pytest.mark.parametrize(
    "change",
    [
        lambda task: kubernetes.add_node_selector(task, "a", "b"),
        lambda task: kubernetes.add_toleration(task, key="k"),
        lambda task: kubernetes.add_pod_label(task, "a", "b"),
        lambda task: kubernetes.set_image_pull_policy(task, "Always"),
        lambda task: task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1),
    ],
)
def test_placement_is_accepted_with_a_note(lab: Laboratory, change: Callable[[Any], Any]) -> None:
    path = lab.compile(_with(change))
    assert any("exec-say" in note and "no effect on one machine" in note for note in load(path).notes)
    assert lab.run(path).output == "a"


def _documents(lab: Laboratory) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(lab.compile(plain).read_text())
    return found


def _set(document: Any, path: str, value: Any) -> None:
    *inner, last = path.split("/")
    for name in inner:
        document = document[name]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        ("root/dag/tasks/add/novelty", 1, "root.dag.tasks.add.novelty: this field is not supported here"),
        ("deploymentSpec/executors/exec-add/customJob", {}, "customJob"),
        ("components/comp-add/executorLabel", "nothing", "names no executor"),
        ("root/dag/tasks/add/componentRef/name", "nothing", "names no component"),
        ("root/dag/tasks/add/dependentTasks", ["nothing"], "waits for 'nothing'"),
        ("root/dag/tasks/add/dependentTasks", ["condition-1"], ""),
        ("root/dag/tasks/add/dependentTasks", ["add"], "in a circle: add"),
        ("root/dag/tasks/condition-1/triggerPolicy/condition", "__import__('os')", "condition"),
        ("root/dag/tasks/condition-1/triggerPolicy/strategy", "SOMETIMES", "SOMETIMES"),
        ("root/dag/tasks/add/componentRef/name", 5, "expected text, found int"),
        ("root/dag/tasks/add/inputs/parameters/a", {}, "0 sources"),
        ("root/dag/tasks", [], "expected fields, found list"),
        ("schemaVersion", "3.0.0", "only 2.x is read"),
        ("pipelineInfo", {}, "pipelineInfo.name is missing"),
    ],
)
def test_fields_of_the_ir(lab: Laboratory, path: str, value: Any, part: str) -> None:
    document = _documents(lab)
    _set(document, path, value)
    file = lab.folder / "changed.yaml"
    file.write_text(yaml.safe_dump(document))
    if part:
        assert part in refused(lab, file, x=1)
    else:
        assert lab.run(file, x=1).output == 2


def test_a_component_that_contains_itself(lab: Laboratory) -> None:
    document = _documents(lab)
    document["components"]["comp-condition-1"]["dag"]["tasks"]["say"]["componentRef"]["name"] = "comp-condition-1"
    file = lab.folder / "changed.yaml"
    file.write_text(yaml.safe_dump(document))
    assert "contain themselves" in refused(lab, file, x=1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a\n- b\n",
        b"just text",
        b"a: [",
        b"\xff\xfe\x00",
        b"a: 1\n---\nb: 2\n",
        b"!!python/object/apply:os.system ['true']",
        b"root: {dag: {}}\n",
        b"apiVersion: pipelines.kubeflow.org/v2beta1\nkind: PipelineVersion\n",
        b"a: &a [*a]\n",
        b"[" * 100_000,
    ],
)
def test_files_that_are_no_pipelines(lab: Laboratory, content: bytes) -> None:
    file = lab.folder / "p.yaml"
    file.write_bytes(content)
    assert str(file) in refused(lab, file)


def test_a_file_that_is_not_there(lab: Laboratory) -> None:
    assert "No such file" in refused(lab, Path("/nowhere/p.yaml"))
    assert "Is a directory" in refused(lab, lab.folder)


def test_a_platform_document_of_another_platform(lab: Laboratory) -> None:
    file = lab.compile(plain)
    file.write_text(file.read_text() + "---\nplatforms:\n  elsewhere: {}\n")
    assert "platform elsewhere" in refused(lab, file, x=1)


@dsl.pipeline(name="placeholders-pipeline")
def with_placeholders(text: str):
    say(text="{{$.pipeline_job_wishes}} of {{$.pipeline_job_name}}")
    say(text=text).set_env_variable("WHERE", "{{$.inputs.parameters['text'].upper}}")


def test_placeholders_that_mean_nothing_here_are_refused_before_the_start(lab: Laboratory) -> None:
    told = refused(lab, with_placeholders, text="x")
    assert "input text: the placeholder {{$.pipeline_job_wishes}} has no meaning here" in told
    assert "the placeholder {{$.inputs.parameters['text'].upper}} has no meaning here" in told
    assert "pipeline_job_name" not in told


@pytest.mark.parametrize(("uri", "sentence"), [("data/rows.csv", "relative path"), ("/nope/rows.csv", "is not there")])
def test_what_an_importer_cannot_find_is_refused_before_the_start(lab: Laboratory, uri: str, sentence: str) -> None:
    assert f"{uri} is" in (told := refused(lab, _imports(uri)))
    assert sentence in told
