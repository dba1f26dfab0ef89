"""The PipelineRunner suite over Kubeflow Pipelines' API, and what happens to one run when KFP does not answer."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from trimtab.adapters.pipelines.kfp_api import KfpClient, KfpError
from trimtab.adapters.pipelines.kubeflow import GRACE_SECONDS, REPORT_AS, KubeflowRunner
from trimtab.errors import PipelineRefused, TrimtabError
from trimtab.ports.pipelines import PipelineRunner, RunRequest
from trimtab.testing.kfp_api import KfpApi
from trimtab.testing.pipeline_runners import PipelineRunnerSuite

pytestmark = pytest.mark.local
SCOPE = "shop/rodents/4711"


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def doubled(x: int) -> int:
    return 2 * x


class Kfp:
    """KFP with a cluster behind it that ends each run at once, unless its pipeline is the gated one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.marks, self.api = folder, folder / "marks", KfpApi()
        self.marks.mkdir()
        self.api.on_run = self.work
        self.said: dict[str, Mapping[str, Any]] = {}
        self.silent = False  # whether nobody can read what runs said
        self.held: list[dict[str, Any]] = []
        self.now = 1000.0
        for name in ("double", "broken", "gated"):
            self.compile(name)

    def compile(self, name: str, reports: bool = True) -> str:
        @dsl.pipeline(name=f"{name}-pipeline")
        def pipeline(x: int = 0, report_as: str = "") -> int:
            return doubled(x=x).output

        compiler.Compiler().compile(pipeline, self.path(name))
        if not reports:
            text = Path(self.path(name)).read_text().replace("report_as", "another_name")
            Path(self.path(name)).write_text(text)
        return self.path(name)

    def path(self, name: str) -> str:
        return str(self.folder / f"{name}.yaml")

    def outputs(self, key: str) -> Mapping[str, Any] | None:
        if self.silent:
            raise TrimtabError("MLflow does not answer")
        return self.said.get(key)

    def runner(self, **settings: Any) -> KubeflowRunner:
        client = KfpClient(self.api.url, timeout_seconds=5.0, **settings)
        return KubeflowRunner(client, SCOPE, "rodents", self.outputs, clock=lambda: self.now)

    def work(self, run: dict[str, Any]) -> None:
        version = self.api.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
        name = version["pipeline_spec"]["pipelineInfo"]["name"]
        if name == "gated-pipeline":
            run["state"] = "RUNNING"
            self.held.append(run)
        else:
            self.end(run, broken=name == "broken-pipeline")

    def end(self, run: dict[str, Any], broken: bool = False) -> None:
        (self.marks / run["run_id"]).touch()
        parameters = run["runtime_config"]["parameters"]
        if broken:
            self.api.finish(run["run_id"], "FAILED", "ValueError: it broke")
        else:
            self.said[parameters[REPORT_AS]] = {"Output": 2 * parameters["x"]}
            self.api.finish(run["run_id"])

    def cut(self, runner: PipelineRunner, request: RunRequest) -> None:
        runner.start(request)
        runner.close()

    def open_gate(self) -> None:
        held, self.held = self.held, []
        for run in held:
            self.end(run)


@pytest.fixture
def kfp(tmp_path: Path) -> Iterator[Kfp]:
    found = Kfp(tmp_path)
    with found.api:
        yield found


class TestKubeflow(PipelineRunnerSuite):
    @pytest.fixture
    def bench(self, kfp: Kfp) -> Kfp:
        return kfp

    def test_an_interrupted_run_is_told_and_taken_up(self, bench: Any) -> None:
        """Only the operator is interrupted: the run is KFP's, goes on, and another operator finds it."""
        request = RunRequest("a", bench.path("gated"), {"x": 4})
        bench.cut(bench.runner(), request)
        runner = bench.runner()
        view = runner.look("a")
        assert view is not None
        assert view.state == "RUNNING"
        assert runner.start(request).run_id == view.run_id
        bench.open_gate()
        assert runner.look("a") == bench.runner().look("a")
        assert dict(runner.look("a").output) == {"Output": 8}


def test_a_version_that_somebody_deleted_in_kfp_is_uploaded_again(kfp: Kfp) -> None:
    runner = kfp.runner()
    runner.start(RunRequest("a", kfp.path("double"), {"x": 1}))
    kfp.api.versions.clear()
    kfp.api.pipelines.clear()
    runner.start(RunRequest("b", kfp.path("double"), {"x": 1}))
    assert (len(kfp.api.runs), len(kfp.api.versions), len(kfp.api.pipelines)) == (2, 1, 1)


def test_one_content_is_uploaded_once_by_any_number_of_operators(kfp: Kfp) -> None:
    for number, runner in enumerate([kfp.runner(), kfp.runner()]):
        for key in ("a", "b"):
            runner.start(RunRequest(f"{key}{number}", kfp.path("double"), {"x": 1}))
    assert len(kfp.api.versions) == len(kfp.api.pipelines) == len(kfp.api.experiments) == 1
    assert kfp.api.calls.count(("POST", "pipelines/upload_version")) == 1
    sent = next(iter(kfp.api.versions.values()))
    assert sent["pipeline_spec"] == next(iter(yaml.safe_load_all(Path(kfp.path("double")).read_text())))
    assert sent["name"].startswith("sha256-")
    text = Path(kfp.path("double")).read_text()
    Path(kfp.path("double")).write_text(f"{text}# another content\n")
    kfp.runner().start(RunRequest("c", kfp.path("double"), {"x": 1}))
    assert (len(kfp.api.versions), len(kfp.api.pipelines)) == (2, 1)
    assert len(kfp.api.runs) == 5


@pytest.mark.parametrize("path", ["runs", "pipelines", "pipelines/upload_version", "experiments"])
@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_call_without_an_answer_makes_no_second_run(kfp: Kfp, path: str, kind: str) -> None:
    request = RunRequest("a", kfp.path("double"), {"x": 3})
    runner = kfp.runner()
    kfp.api.cuts["POST", path] = (kind, 1)
    view = runner.start(request)
    assert view.state != "FAILED"
    if (path, kind) == ("runs", "after"):
        assert view.run_id == "run-1"  # found at once, though nobody said so
    for _ in range(3):
        runner.start(request)
        kfp.now += GRACE_SECONDS
    found = runner.start(request)
    assert (found.state, dict(found.output)) == ("SUCCEEDED", {"Output": 6})
    assert len(kfp.api.runs) == len(kfp.api.versions) == len(kfp.api.pipelines) == len(kfp.api.experiments) == 1


def test_a_creation_that_was_not_answered_is_not_repeated_while_it_may_yet_show(kfp: Kfp) -> None:
    runner, request = kfp.runner(), RunRequest("a", kfp.path("double"), {"x": 3})
    kfp.api.cuts["POST", "runs"] = ("before", 1)
    assert runner.start(request).state == "RUNNING"
    kfp.now += GRACE_SECONDS - 1
    assert "may yet show" in runner.start(request).reason
    assert kfp.api.runs == {}
    kfp.now += 1
    assert runner.start(request).state == "SUCCEEDED"


def test_kfp_away_for_an_hour_is_no_second_run_and_no_failure(kfp: Kfp) -> None:
    request = RunRequest("a", kfp.path("gated"), {"x": 5})
    runner = kfp.runner()
    first = runner.start(request)
    kfp.api.failing = 503
    for operator in (runner, kfp.runner()):
        for _ in range(3):
            kfp.now += 1200
            for view in (operator.look("a"), operator.start(request)):
                assert view is not None
                assert view.state == "RUNNING"
                assert "503" in view.reason
    kfp.api.failing = 0
    kfp.open_gate()
    view = runner.start(request)
    assert (view.run_id, dict(view.output)) == (first.run_id, {"Output": 10})
    assert len(kfp.api.runs) == 1


def test_nothing_listens_at_all(kfp: Kfp) -> None:
    runner = KubeflowRunner(KfpClient("http://127.0.0.1:1"), SCOPE, "rodents", kfp.outputs)
    view = runner.start(RunRequest("a", kfp.path("double"), {}))
    assert view.state == "RUNNING"
    assert "does not answer" in view.reason


def test_two_operators_at_once_end_up_with_one_run(kfp: Kfp) -> None:
    """Both looked before either created: the older run is the run, the other one is ended."""
    request = RunRequest("a", kfp.path("gated"), {"x": 5})
    operators = [kfp.runner(), kfp.runner()]
    both = threading.Barrier(2)
    for operator in operators:
        create = operator._create

        def together(key: str, body: Any, create: Any = create) -> Any:
            both.wait(30)
            return create(key, body)

        operator._create = together  # type: ignore[method-assign]
    threads = [threading.Thread(target=operator.start, args=(request,)) for operator in operators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    views = [operator.look("a") for operator in operators]
    assert {view.run_id for view in views if view is not None} == {"run-1"}
    assert [run["state"] for run in kfp.api.runs.values()] == ["RUNNING", "CANCELING"]


def test_of_many_runs_of_one_name_the_oldest_is_the_run(kfp: Kfp) -> None:
    """The list comes newest first and in pages."""
    runner = kfp.runner()
    runner.start(RunRequest("a", kfp.path("gated"), {"x": 5}))
    first = kfp.api.runs["run-1"]
    client = KfpClient(kfp.api.url)
    for _ in range(4):
        client.post(
            "runs", {key: value for key, value in first.items() if key not in ("run_id", "created_at", "state")}
        )
    view = kfp.runner().look("a")
    assert view is not None
    assert view.run_id == "run-1"
    assert [run["state"] for run in kfp.api.runs.values()] == ["RUNNING"] + 4 * ["CANCELING"]


def test_other_loops_with_the_same_key_are_other_runs(kfp: Kfp) -> None:
    other = KubeflowRunner(KfpClient(kfp.api.url), "shop/rodents/4712", "rodents", kfp.outputs)
    first = kfp.runner().start(RunRequest("training-1", kfp.path("double"), {"x": 1}))
    second = other.start(RunRequest("training-1", kfp.path("double"), {"x": 2}))
    assert first.run_id != second.run_id
    assert (first.output["Output"], second.output["Output"]) == (2, 4)


@pytest.mark.parametrize(
    ("told", "state", "words"),
    [
        ("RUNTIME_STATE_UNSPECIFIED", "RUNNING", ""),
        ("PENDING", "RUNNING", ""),
        ("RUNNING", "RUNNING", ""),
        ("CANCELING", "RUNNING", "being cancelled"),
        ("PAUSED", "RUNNING", "a person must resume"),
        ("CANCELED", "FAILED", "somebody cancelled it"),
        ("SKIPPED", "FAILED", "skipped it"),
        ("FAILED", "FAILED", "it failed in Kubeflow Pipelines"),
        ("SOMETHING_NEW", "RUNNING", "SOMETHING_NEW"),
    ],
)
def test_states(kfp: Kfp, told: str, state: str, words: str) -> None:
    runner = kfp.runner()
    run = runner.start(RunRequest("a", kfp.path("gated"), {"x": 1}))
    kfp.api.finish(run.run_id, told)
    view = runner.look("a")
    assert view is not None
    assert (view.state, words in view.reason) == (state, True)


def test_outputs_that_cannot_be_read_now_are_waited_for_and_none_at_all_is_a_failure(kfp: Kfp) -> None:
    runner, request = kfp.runner(), RunRequest("a", kfp.path("gated"), {"x": 5})
    runner.start(request)
    kfp.open_gate()
    kfp.silent = True
    view = runner.look("a")
    assert view is not None
    assert (view.state, "MLflow does not answer" in view.reason) == ("RUNNING", True)
    kfp.silent = False
    said = kfp.said.popitem()
    failed = kfp.runner().look("a")
    assert failed is not None
    assert (failed.state, "said no outputs" in failed.reason) == ("FAILED", True)
    kfp.said[said[0]] = said[1]
    assert runner.start(request).state == "SUCCEEDED"


def test_a_run_that_was_deleted_after_its_end_is_not_repeated(kfp: Kfp) -> None:
    kfp.runner().start(RunRequest("a", kfp.path("double"), {"x": 5}))
    kfp.api.runs.clear()
    view = kfp.runner().start(RunRequest("a", kfp.path("double"), {"x": 5}))
    assert (view.state, dict(view.output)) == ("SUCCEEDED", {"Output": 10})
    assert kfp.api.runs == {}


def test_the_token_is_read_anew_at_each_call(kfp: Kfp, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    kfp.api.token = "one"
    runner = kfp.runner(token_file=token)
    assert runner.start(RunRequest("a", kfp.path("double"), {"x": 1})).state == "SUCCEEDED"
    kfp.api.token = "two"
    view = runner.look("b")
    assert view is not None
    assert "audience pipelines.kubeflow.org" in view.reason
    token.write_text("two\n")
    assert runner.look("b") is None


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Kfp]:
    """KFP with several users: what is not somebody's is refused."""
    found = Kfp(tmp_path)
    found.api.multi_user = True
    with found.api:
        yield found


def test_each_profile_has_an_experiment_a_pipeline_and_runs_of_its_own(profiles: Kfp) -> None:
    request = RunRequest("training-1", profiles.path("gated"), {"x": 4})
    first = profiles.runner(namespace="team-a")
    assert first.start(request).state == "RUNNING"
    second = profiles.runner(namespace="team-b")  # the same loop, key and name in another profile
    assert second.look("training-1") is None
    assert second.start(request).run_id != first.start(request).run_id
    for those in (profiles.api.experiments, profiles.api.pipelines, profiles.api.runs):
        assert [one["namespace"] for one in those.values()] == ["team-a", "team-b"]
    assert [run["state"] for run in profiles.api.runs.values()] == ["RUNNING", "RUNNING"]  # neither ended the other's
    profiles.open_gate()
    for runner in (first, second):
        view = runner.look("training-1")
        assert view is not None
        assert (view.state, dict(view.output)) == ("SUCCEEDED", {"Output": 8})


def test_without_a_profile_kfp_refuses_and_the_run_says_why(profiles: Kfp) -> None:
    view = profiles.runner().start(RunRequest("a", profiles.path("double"), {"x": 1}))
    assert (view.state, "400" in view.reason) == ("RUNNING", True)
    assert profiles.api.runs == {}


def test_what_could_never_be_read_back_is_refused_before_anything_is_sent(kfp: Kfp) -> None:
    path = kfp.compile("mute", reports=False)
    with pytest.raises(PipelineRefused, match="no parameter report_as"):
        kfp.runner().start(RunRequest("a", path, {"x": 1}))
    (kfp.folder / "wrong.yaml").write_text("a: b")
    with pytest.raises(PipelineRefused, match="no compiled KFP pipeline"):
        kfp.runner().start(RunRequest("a", kfp.path("wrong"), {}))
    with pytest.raises(PipelineRefused, match="takes no parameter y; it takes report_as, x"):
        kfp.runner().start(RunRequest("a", kfp.path("double"), {"y": 1}))
    assert kfp.api.runs == {}


def test_what_kfp_forbids_is_said(kfp: Kfp) -> None:
    kfp.api.failing = 403
    runner = kfp.runner()
    view = runner.look("a")
    assert view is not None
    assert "403" in view.reason
    with pytest.raises(KfpError, match="403"):
        runner._create("a", {})
