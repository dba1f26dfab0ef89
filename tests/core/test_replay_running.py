"""The running figures of a replay are those of the metric named, over the rows that the text names."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from trimtab.cli.replay_display import LineDisplay, LiveDisplay
from trimtab.loop import running
from trimtab.loop.progress import Progress
from trimtab.loop.replay import Replay
from trimtab.loop.traffic import Answer
from trimtab.testing.bundles import document

T0 = datetime(2020, 12, 31, tzinfo=UTC)
DAY = timedelta(days=1)


def _after(column: str, truth: list[Any], loop: list[Any], frozen: list[Any], **sections: Any) -> Progress:
    problem = "classification" if column == "genus" else "regression"
    times = pd.date_range(T0, periods=len(truth), freq="D").astype("datetime64[us, UTC]")
    frame = pd.DataFrame({"_id": [str(n) for n in range(len(truth))], "_time": times, column: truth})
    told: list[Progress] = []
    world: Any = SimpleNamespace(document=document(problem, **sections))
    replay = Replay(world, frame, None, None, None, T0, T0 + len(truth) * DAY, 30, told.append)  # type: ignore[arg-type]
    replay.record.answers = [Answer(str(n), one) for n, one in enumerate(loop)]
    replay.record.frozen = [Answer(str(n), one) for n, one in enumerate(frozen)]
    replay._figures()
    return told[-1]


def _lines(progress: Progress) -> str:
    out = io.StringIO()
    LineDisplay(Console(file=out, width=200))(progress)
    return out.getvalue()


def test_accuracy_over_the_last_thousand() -> None:
    truth = ["a"] * 1500
    told = _after("genus", truth, ["b"] * 500 + ["a"] * 942 + ["b"] * 58, ["b"] * 923 + ["a"] * 577)
    assert (told.recent, told.frozen_recent, told.recent_rows) == (0.942, 0.577, 1000)
    line = _lines(Progress(**{**vars(told), "at": "2021-01", "period_finished": True, "champion": "3"}))
    assert line == "2021-01    1,500 predictions  accuracy 0.942 (frozen 0.577)  champion v3\n"


def test_macro_f1_is_macro_f1() -> None:
    told = _after("genus", ["a", "b", "a", "b"], ["a", "b", "a", "a"], ["a"] * 4, scope=_scope("macro_f1"))
    assert told.metric == "macro_f1"
    assert told.recent == pytest.approx((0.8 + 2 / 3) / 2)
    assert told.frozen_recent == pytest.approx((2 / 3) / 2)
    assert told.loop_by_year[0] == 1.0


def _scope(metric: str, problem: str = "classification") -> dict[str, Any]:
    return {"problem": problem, "metrics": [{"name": metric}]}


def test_a_metric_of_scores_is_shown_as_what_it_is() -> None:
    assert running.shown_metric("log_loss") == "accuracy"
    assert running.shown_metric("rmse") == "rmse"


def test_a_regression_has_figures() -> None:
    told = _after("weight", [10.0, 20.0, np.nan], [11.0, 23.0, 5.0], [15.0, None, 5.0])
    assert (told.metric, told.recent, told.frozen_recent) == ("mae", 2.0, None)
    assert told.loop_by_year == (1.0, 3.0)
    assert told.frozen_by_year == (5.0, None)


def test_the_live_display_says_over_what() -> None:
    told = _after("weight", [10.0, 20.0], [11.0, 23.0], [15.0, 20.0])
    out = io.StringIO()
    console = Console(file=out, width=120)
    console.print(LiveDisplay(console, "x")._panel(told))
    assert "2.000 over the last 2 predictions, frozen 2.500" in out.getvalue()
    assert "▂▂▅▅" in out.getvalue(), "an error is drawn between nought and the greatest"
