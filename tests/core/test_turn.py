"""The turn over a world in memory: it gets through a whole release, and dying anywhere in it changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.records.memory import MemoryRecords
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.adapters.registry.memory import MemoryRegistry
from trimtab.adapters.router.memory import MemoryRouter
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.memory import MemoryServers, MemoryService
from trimtab.adapters.turns.memory import MemoryTurns
from trimtab.decisions.drift import DriftVerdict
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.decisions.state import LoopState
from trimtab.errors import TrimtabError
from trimtab.loop.turn import Loop
from trimtab.loop.world import World
from trimtab.ports.registry import RegisteredVersion
from trimtab.ports.turns import Turn
from trimtab.spec.document import ModelLoop
from trimtab.testing.memory_world import CallingRunner

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DOCUMENT = ModelLoop.model_validate(
    {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelLoop",
        "metadata": {"name": "m"},
        "spec": {
            "scope": {"problem": "classification", "metrics": [{"name": "accuracy", "min": 0.8}]},
            "data": {"source": {"path": "rows.csv"}, "time": {"column": "t"}, "label": {"column": "y", "delay": "1d"}},
            "release": {"steps": [50], "stepLeast": "1d", "evidence": {"leastRequests": 20, "leastLabels": 20}},
            "monitoring": {"every": "4d", "window": "4d", "leastLabels": 50},
            "retraining": {"cooldown": "2d"},
        },
    }
)


class Died(BaseException):
    """The controller was killed."""


@dataclass
class Deadly:
    """Wraps a port: the call number `at` of all wrapped ports dies, before its effect or (`after`) after it."""

    at: int = 0
    after: bool = False
    calls: int = 0

    def wrap(self, port: Any) -> Any:
        owner = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                value = getattr(port, name)
                return owner.deadly(value) if callable(value) else value

        return Wrapped()

    def deadly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            mine = self.calls == self.at
            if mine and not self.after:
                raise Died
            found = call(*arguments, **named)
            if mine:
                raise Died
            return found

        return counted


@dataclass
class Product:
    """What outlasts a controller: ledger, registry, runs, logs. Version 1 is wrong from day 6, version 2 never."""

    turns: MemoryTurns = field(default_factory=MemoryTurns)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    predictions: MemoryRecords = field(default_factory=lambda: MemoryRecords(PREDICTIONS))
    labels: MemoryRecords = field(default_factory=lambda: MemoryRecords(LABELS))
    router: MemoryRouter = field(default_factory=MemoryRouter)

    def __post_init__(self) -> None:
        self.runner = CallingRunner({"training-pipeline": self._train, "monitoring-pipeline": self._monitor})

    def _train(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        version = str(len(self.registry.versions) + 1)
        self.registry.add(RegisteredVersion("m", version, f"sha256:{version}", Path(version)))
        return {"version": version, "digest": f"sha256:{version}", "verdict": "pass", "evidence": "{}"}

    def _monitor(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        at = datetime.fromisoformat(str(parameters["now"]))
        drift = DriftVerdict("stable", (), (), 0, 0)
        return {"verdict": MonitoringVerdict("healthy", at - 4 * DAY, at, at, 0, 0, (), drift).to_json()}

    def loop(self, deadly: Deadly) -> Loop:
        """A new controller; servers and router of the last one died with it."""
        self.router = MemoryRouter()
        wrap = deadly.wrap
        return Loop(
            DOCUMENT,
            World(
                turns=wrap(self.turns),
                runs=MemoryRuns(),
                runner=wrap(self.runner),
                servers=wrap(MemoryServers()),
                router=wrap(self.router),
                collector=MemoryService(),
                registry=wrap(self.registry),
                predictions=wrap(self.predictions),
                labels=wrap(self.labels),
                training_pipeline=Path("training-pipeline.yaml"),
                monitoring_pipeline=Path("monitoring-pipeline.yaml"),
                predictions_folder=Path("predictions"),
                labels_folder=Path("labels"),
                tracking_uri="",
                artifact_root=Path("artifacts"),
                document_text="{}",
            ),
        )

    def traffic(self, day: int) -> None:
        """Sixty requests on that day; their labels come a day later."""
        for number in range(60):
            id_, time = f"{day}-{number}", T0 + day * DAY + timedelta(minutes=number)
            version = self.router.send(id_)
            told = [(version, False)]
            if self.router.routes.mirror_percent and self.router.routes.candidate:
                told.append((self.router.routes.candidate.version, True))
            for one, shadow in told:
                right = one != "1" or day < 6 or number % 2 == 0
                record = {"id": id_, "time": time.isoformat(), "version": one, "shadow": shadow, "attempt": 1}
                said = {"protocol": "memory", "features": "{}", "scores": None, "latency_ms": 1.0}
                self.predictions.append([{**record, **said, "prediction": "a" if right else "b"}])
            self.labels.append([{"id": id_, "label": "a", "time": (time + DAY).isoformat(), "source": "file"}])


def live(product: Product, deadly: Deadly, days: int = 16) -> tuple[LoopState, list[dict[str, Any]], int]:
    """Live through the days; after each death a new controller takes over at the same time."""
    deaths, seen = 0, []
    loop = product.loop(deadly)

    def settled(now: datetime) -> None:
        nonlocal loop, deaths
        while True:
            try:
                loop.settle(now, lambda turn: seen.extend(turn.decisions))
            except Died:
                deaths += 1
                loop = product.loop(deadly)
            else:
                return

    settled(T0)
    for day in range(days):
        product.traffic(day)
        settled(T0 + (day + 1) * DAY)
    last = product.turns.latest()
    assert last is not None
    decisions = [dict(one) for one in reversed(product.turns.newest_decisions(1000))]
    return LoopState.from_json(last.state), decisions, deaths


def _kinds(decisions: list[dict[str, Any]]) -> list[str]:
    return [str(one["kind"]) for one in decisions]


def test_a_version_that_grew_wrong_is_retrained_released_step_by_step_and_promoted() -> None:
    state, decisions, _ = live(Product(), Deadly())
    assert (state.champion, state.previous, state.release) == ("2", "1", None)
    kinds = [kind for kind in _kinds(decisions) if kind not in ("alarm", "all-clear", "wait")]
    assert kinds == ["retrain", "promote", "retrain", "start", "step", "promote"]
    assert decisions[2]["time"] > (T0 + 6 * DAY).isoformat()
    for one in decisions:
        assert one["labels_until"] is None or one["labels_until"] <= one["time"]


def _calls_of_a_life() -> int:
    counting = Deadly()
    live(Product(), counting)
    return counting.calls


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_a_controller_killed_at_any_call_changes_no_decision(after: bool) -> None:
    _, expected, _ = live(Product(), Deadly())
    calls = _calls_of_a_life()
    assert calls > 300
    for at in range(1, calls, 19 if after else 13):  # not divisors of a turn's calls: every kind of call is hit
        product = Product()
        state, decisions, deaths = live(product, Deadly(at, after))
        assert deaths == 1, at
        assert state.champion == "2", at
        assert _kinds(decisions) == _kinds(expected), at
        assert len(product.registry.versions) == 2, at
        assert product.runner.started.count("training-2") == 1, at
        assert product.registry.aliases[("m", "champion")] == "2", at


def test_the_clock_going_backwards_moves_nothing() -> None:
    product = Product()
    loop = product.loop(Deadly())
    loop.settle(T0, lambda _: None)
    day = 0
    while loop.state().release is None:
        product.traffic(day)
        day += 1
        loop.settle(T0 + day * DAY, lambda _: None)
    before = loop.state()
    turn = loop.turn(T0 + 2 * DAY)
    after = LoopState.from_json(turn.state)
    assert after.release is not None
    assert before.release is not None
    assert (after.champion, after.release.phase) == (before.champion, before.release.phase)
    assert [one for one in turn.decisions if one["kind"] in ("promote", "step", "roll-back", "retrain")] == []


def test_a_training_that_fails_again_and_again_is_given_up_and_the_champion_serves_on() -> None:
    product = Product()

    def broken(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise TrimtabError("the source is gone")

    loop = product.loop(Deadly())
    loop.settle(T0, lambda _: None)
    product.runner = CallingRunner({"training-pipeline": broken, "monitoring-pipeline": product._monitor})
    loop = product.loop(Deadly())
    product.turns.wish(T0, "retrain", {"who": "ana"})
    seen: list[Turn] = []
    loop.settle(T0 + DAY, seen.append)
    decisions = [one for turn in seen for one in turn.decisions]
    assert _kinds(decisions) == ["retrain", "retry-training", "retry-training", "training-failed"]
    assert "the source is gone" in decisions[-1]["sentence"]
    assert loop.state().champion == "1"
    assert product.router.routes.stable is not None
