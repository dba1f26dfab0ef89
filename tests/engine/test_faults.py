"""Things that die, hang, fill up or lie: each is injected for real."""

# ruff: noqa: PTH102, PTH104, PTH107, PTH110, PTH118, PTH120, PTH123, PTH208

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kfp import dsl, kubernetes
from laboratory import Laboratory, Ran
from parts import IMAGE, fail, rest, say

from trimtab.adapters.pipelines.local import LocalRunner
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.engine.attempts import MOST_LOST
from trimtab.engine.execution import Execution, Options
from trimtab.engine.load import load
from trimtab.engine.run import prepare, resume
from trimtab.engine.warm import WarmHost
from trimtab.errors import AlreadyRunning, StorageFull
from trimtab.ports.pipelines import RunRequest
from trimtab.ports.runs import TaskRecord

pytestmark = pytest.mark.local
PATIENCE_SECONDS = 30.0


def eventually(found: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not (value := found()):
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.01)
    return value


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def linger(marks: str, name: str, first_only: bool = False) -> str:
    """Leave a file with the process id and wait to be killed; with `first_only` another attempt ends at once."""
    import os
    import subprocess
    import time

    again = os.path.exists(f"{marks}/{name}")
    child = subprocess.Popen(["sleep", "600"])
    with open(f"{marks}/{name}.new", "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    os.rename(f"{marks}/{name}.new", f"{marks}/{name}")
    if first_only and again:
        return name
    time.sleep(600)
    return name


def _pids(marks: Path, name: str) -> list[int]:
    return [int(text) for text in eventually(lambda: (marks / name).exists() and (marks / name).read_text()).split()]


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


class Background:
    """A run in a thread of its own."""

    def __init__(self, lab: Laboratory, pipeline: Any, **parameters: Any) -> None:
        self.executions: list[Execution] = []
        self.result: list[Ran | BaseException] = []

        def work() -> None:
            try:
                self.result.append(lab.run(pipeline, started=self.executions.append, **parameters))
            except BaseException as error:  # noqa: BLE001 - given to the test that waits for it
                self.result.append(error)

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def ended(self) -> Ran:
        self._thread.join(PATIENCE_SECONDS)
        assert self.result, "the run did not end"
        found = self.result[0]
        if isinstance(found, BaseException):
            raise found
        return found


@dsl.pipeline(name="lingering-pipeline")
def lingering(marks: str):
    linger(marks=marks, name="one")
    say(text="beside")


@dsl.pipeline(name="lingering-once-pipeline")
def lingering_once(marks: str) -> str:
    return linger(marks=marks, name="one", first_only=True).set_retry(1, backoff_duration="0s").output


def test_a_task_that_is_killed_fails_with_the_signal(lab: Laboratory, marks: Path) -> None:
    running = Background(lab, lingering, marks=str(marks))
    pid, grandchild = _pids(marks, "one")
    os.kill(pid, signal.SIGKILL)
    ran = running.ended()
    assert ran.states() == {"linger": "FAILED", "say": "SUCCEEDED"}
    assert ran.tasks["linger"].exit_reason == "killed by SIGKILL (out of memory?)"
    assert eventually(lambda: _gone(grandchild))


def test_a_task_that_is_killed_is_tried_again_if_so_wanted(lab: Laboratory, marks: Path) -> None:
    running = Background(lab, lingering_once, marks=str(marks))
    os.kill(_pids(marks, "one")[0], signal.SIGKILL)
    ran = running.ended()
    assert ran.output == "one"
    assert ran.tasks["linger"].attempt == 2


@pytest.fixture
def own(lab: Laboratory) -> Iterator[Laboratory]:
    """A laboratory whose host may be killed."""
    made = Laboratory(WarmHost(), lab.folder / "own")
    made.folder.mkdir()
    yield made
    made.host.close()
    assert made.host.pid == 0


def test_a_host_that_is_killed_is_started_anew_and_its_tasks_run_again(own: Laboratory, marks: Path) -> None:
    running = Background(own, lingering_once, marks=str(marks))
    pids = _pids(marks, "one")
    first = own.host.pid
    os.kill(first, signal.SIGKILL)
    ran = running.ended()
    assert ran.output == "one"
    assert ran.tasks["linger"].attempt == 2
    assert own.host.pid not in {0, first}
    assert all(eventually(lambda pid=pid: _gone(pid)) for pid in pids)


def test_a_task_whose_hosts_die_again_and_again_fails(own: Laboratory, marks: Path) -> None:
    running = Background(own, lingering, marks=str(marks))
    seen: list[list[int]] = [[]]
    for _ in range(MOST_LOST + 1):
        seen.append(eventually(lambda: (pids := _pids(marks, "one")) != seen[-1] and pids))
        os.kill(own.host.pid, signal.SIGKILL)
    ran = running.ended()
    assert ran.tasks["linger"].exit_reason == "the engine's host process died"
    assert ran.tasks["linger"].attempt == MOST_LOST + 1


def test_stopping_ends_everything_and_the_run_can_be_taken_up(lab: Laboratory, marks: Path) -> None:
    running = Background(lab, lingering_once, marks=str(marks))
    pids = _pids(marks, "one")
    running.executions[0].stop("enough", exit_tasks=False)
    ran = running.ended()
    assert (ran.run.state, ran.run.reason) == ("INTERRUPTED", "enough")
    assert ran.states() == {"linger": "CANCELLED"}
    assert all(eventually(lambda pid=pid: _gone(pid)) for pid in pids)
    again = lab.look(resume(lab.store, lab.runs, ran.run.run_id).execute(lab.host, Options(4)))
    assert again.output == "one"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def stubborn(marks: str):
    import os
    import signal
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(f"{marks}/stubborn", "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(600)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tidy(marks: str, status: dsl.PipelineTaskFinalStatus):
    with open(f"{marks}/tidied", "w") as file:
        file.write(status.state)


@dsl.pipeline(name="stubborn-pipeline")
def with_stubborn(marks: str):
    with dsl.ExitHandler(tidy(marks=marks)):
        stubborn(marks=marks)


def test_exit_tasks_run_after_a_stop_and_a_task_that_ignores_it_is_killed(lab: Laboratory, marks: Path) -> None:
    running = Background(lab, with_stubborn, marks=str(marks))
    _pids(marks, "stubborn")
    running.executions[0].stop("enough", exit_tasks=True)
    ran = running.ended()
    assert ran.run.state == "INTERRUPTED"
    assert (marks / "tidied").read_text() == "CANCELLED"
    assert ran.states() == {"exit-handler-1/stubborn": "CANCELLED", "tidy": "SUCCEEDED"}


def test_a_task_that_takes_too_long(lab: Laboratory) -> None:
    @dsl.pipeline(name="slow-pipeline")
    def pipeline():
        kubernetes.set_timeout(rest(seconds=600.0), 1).set_retry(1, backoff_duration="0s")

    ran = lab.run(pipeline)
    assert ran.run.state == "FAILED"
    assert ran.tasks["rest"].exit_reason == "timed out after 1 s"
    assert ran.tasks["rest"].attempt == 2
    assert (ran.tasks["rest"].ended - ran.tasks["rest"].started).total_seconds() < 20


def test_a_run_that_takes_too_long(lab: Laboratory) -> None:
    @dsl.pipeline(name="deadline-pipeline", pipeline_config=dsl.PipelineConfig(active_deadline_seconds=1))
    def pipeline():
        say(text=rest(seconds=600.0).output)

    ran = lab.run(pipeline)
    assert (ran.run.state, ran.run.reason) == ("FAILED", "timed out after 1 s")
    assert ran.states() == {"rest": "CANCELLED", "say": "CANCELLED"}


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def liar(what: str, data: dsl.Output[dsl.Dataset]) -> str:
    """End well, and leave something else than kfp's executor would have."""
    import atexit
    import json
    import os

    here = os.path.join(os.path.dirname(data.path), "executor_output.json")
    lies = {
        "garbage": b"\xff\xfe not JSON",
        "list": b"[1, 2]",
        "deep": b"[" * 200_000,
        "type": json.dumps({"parameterValues": {"Output": [1]}}).encode(),
        "values": json.dumps({"parameterValues": [1]}).encode(),
        "artifact": json.dumps({"artifacts": {"data": {"artifacts": []}}}).encode(),
        "uri": json.dumps({"artifacts": {"data": {"artifacts": [{"uri": 5, "name": "d"}]}}}).encode(),
        "metadata": json.dumps({"artifacts": {"data": {"artifacts": [{"uri": "/x", "metadata": [1]}]}}}).encode(),
    }

    def lie() -> None:
        if what == "folder":
            os.remove(here)
            os.mkdir(here)
        else:
            with open(here, "wb") as file:
                file.write(lies[what])

    atexit.register(lie)
    return "fine"


@dsl.pipeline(name="lying-pipeline")
def lying(what: str):
    told = liar(what=what)
    say(text=told.outputs["Output"])


@pytest.mark.parametrize("what", ["garbage", "list", "deep", "type", "values", "artifact", "uri", "metadata"])
def test_outputs_that_are_not_what_they_should_be(lab: Laboratory, what: str) -> None:
    ran = lab.run(lying, what=what)
    assert ran.states() == {"liar": "FAILED", "say": "SKIPPED"}
    assert "output" in ran.tasks["liar"].exit_reason


def test_no_output_at_all_fails_who_did_not_write_it(lab: Laboratory) -> None:
    ran = lab.run(lying, what="folder")
    assert ran.states() == {"liar": "FAILED", "say": "SKIPPED"}
    assert "without writing its output Output" in ran.tasks["liar"].exit_reason


def test_stopping_ends_the_wait_of_a_pipeline_that_would_be_retried(lab: Laboratory) -> None:
    @dsl.pipeline(name="hopeless-pipeline")
    def hopeless() -> str:
        return fail(message="no").output

    @dsl.pipeline(name="patient-pipeline")
    def patient() -> str:
        return hopeless().set_retry(3, backoff_duration="600s").output

    started: list[Execution] = []

    def stop_while_it_waits(task: TaskRecord) -> None:
        if (task.path, task.state) == ("hopeless-pipeline", "PENDING"):
            started[0].stop("enough", exit_tasks=True)

    before = time.monotonic()
    ran = lab.run(patient, started=started.append, observer=stop_while_it_waits)
    assert time.monotonic() - before < PATIENCE_SECONDS
    assert (ran.run.state, ran.run.reason) == ("INTERRUPTED", "enough")
    assert ran.tasks["hopeless-pipeline"].state == "CANCELLED"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def mute(folder: str) -> str:
    import os

    attempt = len(os.listdir(folder))
    open(f"{folder}/{attempt}", "w").close()
    if attempt == 0:
        print("the first says something")
    os._exit(3)


def test_the_reason_is_of_the_last_attempt_and_not_the_mark_before_it(lab: Laboratory, marks: Path) -> None:
    @dsl.pipeline(name="mute-pipeline")
    def pipeline(folder: str) -> str:
        return mute(folder=folder).set_retry(2, backoff_duration="0s").output

    ran = lab.run(pipeline, folder=str(marks))
    assert (ran.tasks["mute"].attempt, ran.tasks["mute"].exit_reason) == (3, "exit code 3")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def chatter(lines: int) -> str:
    for _ in range(lines):
        print("x" * 1000)
    raise SystemExit("last words")


@dsl.pipeline(name="chatter-pipeline")
def chattering():
    chatter(lines=50_000)


def test_a_log_of_fifty_megabytes(lab: Laboratory) -> None:
    ran = lab.run(chattering)
    assert ran.tasks["chatter"].exit_reason == "exit code 1: last words"
    assert Path(ran.tasks["chatter"].log).stat().st_size > 50_000_000


class FullStore(SqlRuns):
    """A store whose disk is full from the second task on."""

    def save_task(self, task: TaskRecord) -> None:
        if task.path == "linger":
            super().save_task(task)
        else:
            raise StorageFull("no room")


def test_a_full_disk_of_the_ledger_ends_the_run_and_what_it_started(lab: Laboratory, marks: Path) -> None:
    ledger = lab.folder / "ledger.db"
    lab.store = FullStore(ledger_engine(ledger))
    with pytest.raises(StorageFull):
        Background(lab, lingering, marks=str(marks)).ended()
    assert eventually(lambda: lab.host.idle)
    runner = LocalRunner(SqlRuns(ledger_engine(ledger)), lab.runs, warm=False)
    assert runner.look("run-0") is None  # the run of the laboratory has no key
    runner.close()


def test_a_full_disk_for_the_folder_of_a_task(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    @dsl.pipeline(name="said-pipeline")
    def pipeline() -> str:
        return say(text="a").output

    real = Path.mkdir

    def full(path: Path, *args: Any, **more: Any) -> None:
        if path.name == "program":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, *args, **more)

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageFull, match="resume the run"):
        lab.run(pipeline)


def test_one_run_is_run_by_one_process(lab: Laboratory) -> None:
    @dsl.pipeline(name="said-pipeline")
    def pipeline() -> str:
        return say(text="a").output

    loaded = load(lab.compile(pipeline))
    first = prepare(lab.store, lab.runs, "r", loaded, {})
    with pytest.raises(AlreadyRunning):
        resume(lab.store, lab.runs, "r")
    first.execute(lab.host, Options(1))


def test_names_lead_nowhere_else(lab: Laboratory) -> None:
    @dsl.pipeline(name="said-pipeline")
    def pipeline() -> str:
        return say(text="a").output

    file = lab.compile(pipeline)
    text = file.read_text().replace("producerSubtask: say", "producerSubtask: '../../../out'")
    file.write_text(text.replace("      say:\n        cachingOptions", "      '../../../out':\n        cachingOptions"))
    ran = lab.run(file)
    assert ran.output == "a"
    folder = Path(ran.tasks["../../../out"].log).parent
    assert folder.parent == ran.folder
    assert not list(lab.folder.glob("out*"))


def test_a_run_of_a_dead_process_is_seen_as_interrupted(lab: Laboratory) -> None:
    store = SqlRuns(ledger_engine(lab.folder / "ledger.db"))
    runner = LocalRunner(store, lab.runs, warm=False)

    @dsl.pipeline(name="said-pipeline")
    def pipeline() -> str:
        return say(text="a").output

    request = RunRequest("key", str(lab.compile(pipeline)))
    from trimtab.engine.naming import run_id

    run = prepare(store, lab.runs, run_id("key"), load(Path(request.pipeline)), {})
    view = runner.look("key")
    assert view is not None
    assert view.state == "RUNNING"
    run.abandon()
    view = runner.look("key")
    assert view is not None
    assert (view.state, view.reason) == ("INTERRUPTED", "the process that ran it died")
    runner.start(request)
    assert eventually(lambda: (runner.look("key") or view).state == "SUCCEEDED")
    runner.close()


def test_a_task_that_waits_for_its_next_attempt_is_stopped_at_once(lab: Laboratory) -> None:
    @dsl.pipeline(name="patient-pipeline")
    def pipeline():
        fail().set_retry(3, backoff_duration="3600s")

    running = Background(lab, pipeline)
    eventually(lambda: [task for task in lab.store.tasks("run-0") if task.state == "PENDING"])
    running.executions[0].stop("enough", exit_tasks=False)
    ran = running.ended()
    assert (ran.run.state, ran.states()) == ("INTERRUPTED", {"fail": "CANCELLED"})


def test_a_child_that_is_killed_before_it_has_a_task_costs_none(lab: Laboratory) -> None:
    @dsl.pipeline(name="said-pipeline")
    def pipeline() -> str:
        return say(text="a" * 200_000).output

    lab.run(pipeline)
    for pause in (0.0, 0.2):
        for child in eventually(lambda: psutil.Process(lab.host.pid).children()):
            child.kill()
        if pause:
            eventually(
                lambda: all(one.status() != psutil.STATUS_ZOMBIE for one in psutil.Process(lab.host.pid).children())
            )
        assert lab.run(pipeline).output == "a" * 200_000
        assert lab.host.pid
