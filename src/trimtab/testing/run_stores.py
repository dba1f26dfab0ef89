"""What every RunStore must do. Subclass it with a `store` fixture that gives an empty one."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.ports.runs import RunRecord, TaskRecord

_NOON = datetime(2001, 2, 3, 12, 0, 0, 123456, tzinfo=UTC)


def _run(name: str, minute: int = 0, **more: Any) -> RunRecord:
    return RunRecord(name, "a-pipeline", "RUNNING", _NOON + timedelta(minutes=minute), **more)


def _task(path: str, state: Any = "SUCCEEDED", run: str = "r", **more: Any) -> TaskRecord:
    return TaskRecord(run, path, state, **more)


class RunStoreSuite:
    """Runs newest first, tasks in the order of their first save, the newest success of a cache key."""

    def test_an_empty_store_knows_nothing(self, store: Any) -> None:
        assert store.run("r") is None
        assert list(store.runs()) == []
        assert list(store.tasks("r")) == []
        assert store.cached("k") is None

    def test_a_run_comes_back_as_it_was_saved(self, store: Any) -> None:
        run = _run(
            "r",
            parameters={"text": 'it\'s "ü"\n\u2028', "list": [1, 2.5, None, {"deep": True}]},
            output={"Output": 3, "other": 2.0},
            reason="why",
            pid=4711,
            ended=_NOON + timedelta(seconds=1.5),
        )
        store.save_run(run)
        assert store.run("r") == run
        assert isinstance(store.run("r").output["other"], float)

    def test_saving_again_replaces(self, store: Any) -> None:
        store.save_run(_run("r"))
        store.save_run(replace(_run("r"), state="SUCCEEDED", output={"x": 1}))
        assert [(run.state, run.output) for run in store.runs()] == [("SUCCEEDED", {"x": 1})]

    def test_runs_come_newest_first_and_no_more_than_asked_for(self, store: Any) -> None:
        for minute in (2, 0, 3, 1):
            store.save_run(_run(f"r{minute}", minute))
        assert [run.run_id for run in store.runs()] == ["r3", "r2", "r1", "r0"]
        assert [run.run_id for run in store.runs(2)] == ["r3", "r2"]

    def test_a_task_comes_back_as_it_was_saved(self, store: Any) -> None:
        task = _task(
            "loop[3]/fit",
            started=_NOON,
            ended=_NOON + timedelta(milliseconds=7),
            attempt=2,
            inputs={"a": 1},
            outputs={"model": {"uri": "/x", "metadata": {"f1": 0.5}}},
            log="/somewhere/log.txt",
            exit_reason="killed by SIGKILL",
            cache_key="k" * 64,
        )
        store.save_task(task)
        assert list(store.tasks("r")) == [task]

    def test_tasks_keep_the_order_of_their_first_save(self, store: Any) -> None:
        for path in ("b", "a", "c"):
            store.save_task(_task(path, "RUNNING"))
        store.save_task(_task("b"))
        assert [(task.path, task.state) for task in store.tasks("r")] == [
            ("b", "SUCCEEDED"),
            ("a", "RUNNING"),
            ("c", "RUNNING"),
        ]

    def test_tasks_of_other_runs_are_not_mixed_in(self, store: Any) -> None:
        store.save_task(_task("a", run="one"))
        store.save_task(_task("a", run="two", attempt=5))
        assert [task.attempt for task in store.tasks("one")] == [0]

    @pytest.mark.parametrize("state", ["FAILED", "RUNNING", "CANCELLED", "SKIPPED", "CACHED", "PENDING"])
    def test_only_a_success_is_cached(self, store: Any, state: str) -> None:
        store.save_task(_task("a", state, cache_key="k"))
        assert store.cached("k") is None

    def test_the_newest_success_of_a_key_is_the_cached_one(self, store: Any) -> None:
        store.save_task(_task("a", run="one", cache_key="k", outputs={"x": 1}))
        store.save_task(_task("a", run="two", cache_key="k", outputs={"x": 2}))
        store.save_task(_task("a", run="three", cache_key="other", outputs={"x": 3}))
        assert store.cached("k").outputs == {"x": 2}
        store.save_task(_task("a", run="one", cache_key="k", outputs={"x": 4}))
        assert store.cached("k").outputs == {"x": 4}

    def test_no_key_is_no_key(self, store: Any) -> None:
        store.save_task(_task("a"))
        assert store.cached("") is None

    def test_several_threads_may_write(self, store: Any) -> None:
        def work(number: int) -> None:
            for index in range(10):
                store.save_task(_task(f"t{index}", run=f"r{number}"))
                store.save_run(_run(f"r{number}"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.runs()) == 4
        assert all(len(store.tasks(f"r{number}")) == 10 for number in range(4))
