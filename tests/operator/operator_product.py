"""A model product on a cluster in memory, for tests of the operator: what outlasts an operator, and its days."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from trimtab.adapters.cluster import Cluster, ClusterError, Conflict
from trimtab.adapters.records.memory import MemoryRecords
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.adapters.registry.memory import MemoryRegistry
from trimtab.adapters.router.memory import MemoryRouter
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.memory import MemoryServers, MemoryService
from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.decisions.drift import DriftVerdict
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.decisions.state import LoopState
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.ports.registry import RegisteredVersion
from trimtab.spec import crd
from trimtab.spec.document import ModelLoop
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.memory_world import CallingRunner

T0 = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LOOPS = "/apis/trimtab.dev/v1alpha1/namespaces/default/modelloops"
SPEC = {
    "scope": {"problem": "classification", "metrics": [{"name": "accuracy", "min": 0.8}]},
    "data": {"source": {"path": "rows.csv"}, "time": {"column": "t"}, "label": {"column": "y", "delay": "1d"}},
    "release": {"steps": [50], "stepLeast": "1d", "evidence": {"leastRequests": 20, "leastLabels": 20}},
    "monitoring": {"every": "4d", "window": "4d", "leastLabels": 50},
    "retraining": {"cooldown": "2d"},
}


def model_loop(name: str = "m", **spec: Any) -> dict[str, Any]:
    """The object as a person applies it."""
    head = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelLoop", "metadata": {"name": name}}
    return {**head, "spec": {**SPEC, **spec}}


def with_definition(api: KubernetesApi) -> KubernetesApi:
    """The server knows ModelLoop, by the definition that we ship."""
    api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd.definition())
    return api


class Died(BaseException):
    """The operator was killed."""


class NearCluster(Cluster):
    """Calls the API server in this process; call number `dies_at` kills the operator, before its effect or after."""

    def __init__(self, api: KubernetesApi, dies_at: int = 0, after: bool = False) -> None:
        self.api, self.dies_at, self.after, self.calls = api, dies_at, after, 0

    def close(self) -> None:
        """Nothing is open."""

    def _call(
        self, method: str, path: str, query: Any = None, body: Any = None, content_type: Any = "", kind: Any = ""
    ):
        self.calls += 1
        mine = self.calls == self.dies_at
        if mine and not self.after:
            raise Died
        asked = {**(query or {}), "fieldManager": "trimtab-operator"}
        text = "&".join(f"{key}={value}" for key, value in asked.items())
        try:
            found = self.api.request(method, f"{path}?{text}", body, content_type or "application/json")
        except ApiRefused as error:
            if mine:
                raise Died from error
            raise (Conflict if error.code == 409 else ClusterError)(str(error), error.code) from error
        if mine:
            raise Died
        return json.loads(json.dumps(found))


class LastingRegistry(MemoryRegistry):
    """As of a cluster: what an operator that was killed had registered is known to the next one.

    Versions are functions of their number here, so nothing needs to be stored for that.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def version(self, name: str, version: str) -> RegisteredVersion:
        """The version, whichever process trained it."""
        if name == self._name and version.isdigit():
            return self.versions.setdefault((name, version), numbered(name, version))
        return super().version(name, version)


def numbered(name: str, version: str) -> RegisteredVersion:
    """What training registers."""
    return RegisteredVersion(name, version, f"sha256:{version}", Path(version))


@dataclass
class Product:
    """What outlasts an operator: registry, runs, logs, servers, router. Version 1 is wrong from day 6, 2 never."""

    name: str = "m"
    registry: MemoryRegistry = field(init=False)
    predictions: MemoryRecords = field(default_factory=lambda: MemoryRecords(PREDICTIONS))
    labels: MemoryRecords = field(default_factory=lambda: MemoryRecords(LABELS))
    router: MemoryRouter = field(default_factory=MemoryRouter)
    servers: MemoryServers = field(default_factory=MemoryServers)

    def __post_init__(self) -> None:
        self.registry = LastingRegistry(self.name)
        self.runner = CallingRunner({"training-pipeline": self._train, "monitoring-pipeline": self._monitor})
        self.router.close = lambda: None  # type: ignore[method-assign]
        self.servers.close = lambda: None  # type: ignore[method-assign]  # they are the cluster's

    def _train(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        version = str(len(self.registry.versions) + 1)
        self.registry.add(numbered(self.name, version))
        return {"version": version, "digest": f"sha256:{version}", "verdict": "pass", "evidence": "{}"}

    def _monitor(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        at = datetime.fromisoformat(str(parameters["now"]))
        drift = DriftVerdict("stable", (), (), 0, 0)
        return {"verdict": MonitoringVerdict("healthy", at - 4 * DAY, at, at, 0, 0, (), drift).to_json()}

    def world(self, cluster: Cluster, document: ModelLoop, about: LoopObject) -> World:
        """As a factory of worlds makes it."""
        return World(
            turns=ConfigMapTurns(cluster, about.namespace, about.name),
            runs=MemoryRuns(),
            runner=self.runner,
            servers=self.servers,
            router=self.router,
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
            document_text=document.model_dump_json(by_alias=True),
        )

    def traffic(self, day: int) -> None:
        """Sixty requests on that day; their labels come a day later."""
        if not self.router.address:
            return
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


def settled(turn: Any) -> bool:
    """Whether nothing is under way after this turn that virtual time would not end."""
    if turn is None or turn.decisions:
        return False
    state = LoopState.from_json(turn.state)
    starting = any(server["state"] == "starting" for server in turn.observed["servers"].values())
    return state.training is None and state.monitoring is None and not starting
