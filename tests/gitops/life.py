"""A model product that lives by gitops: version 1 is wrong from day 6, and people answer pull requests each evening."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.adapters.git import Credentials
from trimtab.adapters.records.memory import MemoryRecords
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.adapters.registry.memory import MemoryRegistry
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.memory import MemoryService
from trimtab.adapters.turns.memory import MemoryTurns
from trimtab.decisions.drift import DriftVerdict
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.loop.turn import Loop
from trimtab.loop.world import World
from trimtab.ports.delivery import Served
from trimtab.ports.registry import RegisteredVersion
from trimtab.spec.document import ModelLoop
from trimtab.spec.release import GitOps
from trimtab.testing.git_places import Person, Place
from trimtab.testing.gitops_world import FollowingCluster, FollowingRouter, FollowingServers
from trimtab.testing.memory_world import CallingRunner

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FILE = "releases/orders/release.yaml"
PROMOTED = ["retrain", "propose", "promote", "retrain", "propose", "start", "step", "step", "propose", "promote"]
ASIDE = ("alarm", "all-clear", "wait")


def uri(served: Served) -> str:
    return f"s3://models/orders/{served.bundle.name}"


def document(url: str, **release: Any) -> ModelLoop:
    evidence = {"leastRequests": 20, "leastLabels": 20}
    steps = {"steps": [20, 50], "stepLeast": "1d", "evidence": evidence, "delivery": "gitops"}
    return ModelLoop.model_validate(
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelLoop",
            "metadata": {"name": "orders"},
            "spec": {
                "scope": {"problem": "classification", "metrics": [{"name": "accuracy", "min": 0.8}]},
                "data": {"source": {"path": "r.csv"}, "time": {"column": "t"}, "label": {"column": "y", "delay": "1d"}},
                "release": {**steps, "gitops": {"repository": url}, **release},
                "monitoring": {"every": "4d", "window": "4d", "leastLabels": 50},
                "retraining": {"cooldown": "2d"},
            },
        }
    )


@dataclass
class Product:
    """What outlasts a controller."""

    place: Place
    folder: Path
    release: Mapping[str, Any] = field(default_factory=dict)
    turns: MemoryTurns = field(default_factory=MemoryTurns)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    predictions: MemoryRecords = field(default_factory=lambda: MemoryRecords(PREDICTIONS))
    labels: MemoryRecords = field(default_factory=lambda: MemoryRecords(LABELS))

    def __post_init__(self) -> None:
        self.runner = CallingRunner({"training-pipeline": self._train, "monitoring-pipeline": self._monitor})
        self.cluster = FollowingCluster(self.place, FILE)
        self.ada = Person(self.place, "ada")
        self.day = 0

    def _train(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        version = str(len(self.registry.versions) + 1)
        digest = "sha256:" + hashlib.sha256(version.encode()).hexdigest()
        self.registry.add(RegisteredVersion("orders", version, digest, Path(version)))
        return {"version": version, "digest": digest, "verdict": "pass", "evidence": '{"accuracy": 0.91}'}

    def _monitor(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        at = datetime.fromisoformat(str(parameters["now"]))
        drift = DriftVerdict("stable", (), (), 0, 0)
        return {"verdict": MonitoringVerdict("healthy", at - 4 * DAY, at, at, 0, 0, (), drift).to_json()}

    def loop(self, wrap: Callable[[Any], Any] = lambda port: port, url: str = "") -> Loop:
        """A new controller."""
        loop = document(url or self.place.url, **self.release)
        where = loop.spec.release.gitops or GitOps(repository=self.place.url)
        return Loop(
            loop,
            World(
                turns=wrap(self.turns),
                runs=MemoryRuns(),
                runner=wrap(self.runner),
                servers=FollowingServers(self.cluster),
                router=FollowingRouter(self.cluster),
                collector=MemoryService(),
                registry=self.registry,
                predictions=self.predictions,
                labels=self.labels,
                training_pipeline=Path("training-pipeline.yaml"),
                monitoring_pipeline=Path("monitoring-pipeline.yaml"),
                predictions_folder=Path("predictions"),
                labels_folder=Path("labels"),
                tracking_uri="",
                artifact_root=Path("artifacts"),
                document_text="{}",
                delivery=wrap(GitDelivery(self.folder, "orders", where, Credentials(), uri, timeout_seconds=20)),
            ),
        )

    def traffic(self) -> None:
        """Sixty requests on this day through whatever serves; their labels come a day later."""
        self.cluster.sync()
        front, day = self.cluster.front, self.day
        if front.routes.stable is None:
            return
        for number in range(60):
            id_, time = f"{day}-{number}", T0 + day * DAY + timedelta(minutes=number)
            told = [(front.send(id_), False)]
            if front.routes.mirror_percent and front.routes.candidate:
                told.append((front.routes.candidate.version, True))
            for one, shadow in told:
                right = one != "1" or day < 6 or number % 2 == 0
                record = {"id": id_, "time": time.isoformat(), "version": one, "shadow": shadow, "attempt": 1}
                said = {"protocol": "memory", "features": "{}", "scores": None, "latency_ms": 1.0}
                self.predictions.append([{**record, **said, "prediction": "a" if right else "b"}])
            self.labels.append([{"id": id_, "label": "a", "time": (time + DAY).isoformat(), "source": "file"}])

    def asked(self) -> list[str]:
        """Branches that wait for people."""
        return [branch for branch in self.place.branches() if branch.startswith("trimtab/")]

    def live_a_day(self, loop: Loop, answer: str = "merge") -> list[dict[str, Any]]:
        """Traffic, turns until nothing moves, people's answers (merge, close or nothing); what was decided."""
        before = len(self.turns.newest_decisions(1000))
        self.traffic()
        loop.settle(T0 + self.day * DAY + timedelta(hours=23), lambda _: None)
        for branch in self.asked():
            if answer == "merge":
                self.ada.merge(branch)
            elif answer == "close":
                self.place.git("branch", "-D", branch)
        self.day += 1
        decisions = self.turns.newest_decisions(1000)
        return [dict(one) for one in reversed(decisions[: len(decisions) - before])]

    def told(self) -> list[dict[str, Any]]:
        """All decisions, oldest first, but those that are not about versions."""
        return [dict(one) for one in reversed(self.turns.newest_decisions(1000)) if one["kind"] not in ASIDE]

    def kinds(self) -> list[str]:
        return [str(one["kind"]) for one in self.told()]
