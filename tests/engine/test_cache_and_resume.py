"""Results that are not computed again, and when they must be."""

# ruff: noqa: PTH123

import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from kfp import dsl
from laboratory import Laboratory, Ran
from parts import IMAGE, add, read, say, write

from trimtab.engine import versions
from trimtab.engine.execution import Options
from trimtab.engine.run import resume
from trimtab.engine.warm import WarmHost
from trimtab.errors import PipelineRefused


@dsl.pipeline(name="two-step-pipeline")
def two_steps(text: str) -> str:
    return read(data=write(text=text).outputs["data"]).output


def test_a_second_run_takes_everything_from_the_cache_and_starts_no_process(lab: Laboratory) -> None:
    first = lab.run(two_steps, cache=True, text="a")
    lab.host = idle = WarmHost()
    second = lab.run(two_steps, cache=True, text="a")
    assert second.output == first.output == "a"
    assert second.states() == {"write": "CACHED", "read": "CACHED"}
    assert first.run.run_id in second.tasks["write"].exit_reason
    assert idle.pid == 0


def test_other_inputs_are_computed(lab: Laboratory) -> None:
    lab.run(two_steps, cache=True, text="a")
    assert lab.run(two_steps, cache=True, text="b").states() == {"write": "SUCCEEDED", "read": "SUCCEEDED"}


def test_the_cache_can_be_left_out(lab: Laboratory) -> None:
    lab.run(two_steps, cache=True, text="a")
    assert lab.run(two_steps, cache=False, text="a").states() == {"write": "SUCCEEDED", "read": "SUCCEEDED"}


def _data(ran: Ran) -> Path:
    return Path(ran.tasks["write"].outputs["data"]["uri"])


def test_a_result_whose_file_is_gone_is_computed_again(lab: Laboratory) -> None:
    _data(lab.run(two_steps, cache=True, text="a")).unlink()
    again = lab.run(two_steps, cache=True, text="a")
    assert again.states() == {"write": "SUCCEEDED", "read": "CACHED"}
    assert again.output == "a"


def test_a_result_whose_file_was_changed_is_computed_again(lab: Laboratory) -> None:
    _data(lab.run(two_steps, cache=True, text="a")).write_text("tampered")
    again = lab.run(two_steps, cache=True, text="a")
    assert again.states()["write"] == "SUCCEEDED"
    assert again.output == "a"


def test_a_task_may_refuse_to_be_cached(lab: Laboratory) -> None:
    @dsl.pipeline(name="uncached-pipeline")
    def pipeline(x: int) -> int:
        first = add(a=x)
        first.set_caching_options(False)
        return add(a=first.output).output

    lab.run(pipeline, cache=True, x=1)
    assert lab.run(pipeline, cache=True, x=1).states() == {"add": "SUCCEEDED", "add-2": "CACHED"}


def test_a_key_of_the_authors_own_stands_for_the_inputs(lab: Laboratory) -> None:
    @dsl.pipeline(name="keyed-pipeline")
    def pipeline(x: int) -> int:
        return add(a=x).set_caching_options(True, cache_key="mine").output

    assert lab.run(pipeline, cache=True, x=1).output == 2
    assert lab.run(pipeline, cache=True, x=5).output == 2


def test_other_code_is_computed(lab: Laboratory) -> None:
    def of(version: str) -> Ran:
        path = lab.compile(two_steps)
        text = path.read_text()
        path.write_text(text.replace("return file.read()", f"return file.read() + '{version}'"))
        return lab.run(path, cache=True, text="a")

    assert of("1").output == "a1"
    assert of("2").output == "a2"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def open_only_if(gate: str, marks: str, name: str) -> str:
    import os
    import uuid

    with open(f"{marks}/{name}-{uuid.uuid4().hex}", "w"):
        pass
    if not os.path.exists(gate):  # noqa: PTH110
        raise RuntimeError("closed")
    return name


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def marked(marks: str, name: str, data: dsl.Output[dsl.Dataset]) -> str:
    import uuid

    with open(f"{marks}/{name}-{uuid.uuid4().hex}", "w"):
        pass
    with open(data.path, "w") as file:
        file.write(name)
    return name


@dsl.pipeline(name="resumed-pipeline")
def resumed(gate: str, marks: str) -> str:
    first = marked(marks=marks, name="first")
    with dsl.ParallelFor(["a", "b"]) as item:
        each = marked(marks=marks, name=item)
        each.set_caching_options(False)
    shut = open_only_if(gate=gate, marks=marks, name=first.outputs["Output"])
    return say(text=f"{shut.output} {read(data=first.outputs['data']).output}").output


def _counted(marks: Path) -> Counter[str]:
    return Counter(path.name.partition("-")[0] for path in marks.iterdir())


@pytest.fixture
def stopped(lab: Laboratory, marks: Path) -> Ran:
    ran = lab.run(resumed, gate=str(lab.folder / "gate"), marks=str(marks))
    assert ran.run.state == "FAILED"
    assert _counted(marks) == {"first": 2, "a": 1, "b": 1}
    return ran


def _resume(lab: Laboratory, ran: Ran) -> Ran:
    return lab.look(resume(lab.store, lab.runs, ran.run.run_id).execute(lab.host, Options(4)))


def test_resume_runs_only_what_did_not_finish(lab: Laboratory, marks: Path, stopped: Ran) -> None:
    (lab.folder / "gate").touch()
    again = _resume(lab, stopped)
    assert again.output == "first first"
    assert _counted(marks) == {"first": 3, "a": 1, "b": 1}  # the one that failed ran once more
    assert again.run.run_id == stopped.run.run_id
    assert again.tasks["open-only-if"].attempt == 2
    assert again.tasks["marked"].started == stopped.tasks["marked"].started


def test_resume_repeats_what_lost_its_files(lab: Laboratory, marks: Path, stopped: Ran) -> None:
    (lab.folder / "gate").touch()
    shutil.rmtree(Path(stopped.tasks["marked"].outputs["data"]["uri"]).parent)
    assert _resume(lab, stopped).output == "first first"
    assert _counted(marks)["first"] == 4


def test_resume_of_what_fails_again(lab: Laboratory, marks: Path, stopped: Ran) -> None:
    again = _resume(lab, stopped)
    assert again.run.state == "FAILED"
    assert "closed" in again.run.reason


def test_nothing_to_resume(lab: Laboratory) -> None:
    ran = lab.run(two_steps, text="a")
    with pytest.raises(PipelineRefused, match="has succeeded"):
        resume(lab.store, lab.runs, ran.run.run_id)
    with pytest.raises(PipelineRefused, match="no run nowhere"):
        resume(lab.store, lab.runs, "nowhere")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def drawn(data: dsl.Output[dsl.Dataset]) -> str:
    import uuid

    text = uuid.uuid4().hex
    with open(data.path, "w") as file:
        file.write(text)
    return text


@dsl.pipeline(name="drawn-pipeline")
def drawing(gate: str, marks: str) -> str:
    first = drawn()
    follows = say(text=first.outputs["Output"])
    shut = open_only_if(gate=gate, marks=marks, name="shut")
    return say(text=f"{follows.output} {read(data=first.outputs['data']).output}").after(shut).output


def test_resume_repeats_what_followed_from_something_that_is_different_now(lab: Laboratory, marks: Path) -> None:
    ran = lab.run(drawing, gate=str(lab.folder / "gate"), marks=str(marks))
    assert ran.states()["say"] == "SUCCEEDED"
    Path(ran.tasks["drawn"].outputs["data"]["uri"]).unlink()
    (lab.folder / "gate").touch()
    first, second = _resume(lab, ran).output.split()
    assert first == second


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def ours() -> str:
    import numpy as np

    from trimtab import __version__

    return f"{__version__} {np.float64(1)}"


def test_results_of_other_versions_of_trimtab_or_a_library_are_not_reused(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dsl.pipeline(name="ours-pipeline")
    def pipeline() -> str:
        return ours().output

    state = lambda: lab.run(pipeline, cache=True).states()["ours"]  # noqa: E731
    assert [state(), state()] == ["SUCCEEDED", "CACHED"]
    real = versions._version
    for name in ("trimtab", "numpy", "sklearn"):
        monkeypatch.setattr(versions, "_version", lambda one, other=name: real(one) + "+" * (one == other))
        assert [state(), state()] == ["SUCCEEDED", "CACHED"]
    monkeypatch.setattr(versions, "_version", lambda one: real(one) + "+" * (one == "mlflow"))
    assert state() == "CACHED"


def test_the_version_of_a_checkout_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stage.py").write_text("a = 1")
    monkeypatch.setattr(versions, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    before = versions._digest()
    assert versions._digest() == before
    (tmp_path / "stage.py").write_text("a = 2")
    assert versions._digest() != before
