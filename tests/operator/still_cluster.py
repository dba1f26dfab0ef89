"""A bare cluster that stands still between two steps of the operator: it acts when it is told to.

What the real adapters make is looked at here: Deployments and Jobs get pods by the controllers of the node for tests,
pods are ready at once, Jobs do what a `Product` does, and Envoy's pods have taken whatever the ConfigMap says.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from operator_product import T0, NearCluster, Product

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.pipelines import job
from trimtab.adapters.pipelines.job import JobRunner, request_folder
from trimtab.adapters.router import envoy_deployment
from trimtab.adapters.router.envoy_deployment import EnvoyDeployment
from trimtab.adapters.router.envoy_files import Files
from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.servers.collector_deployment import CollectorDeployment
from trimtab.adapters.servers.deployment import DeploymentServers
from trimtab.adapters.workloads import Place
from trimtab.loop.home import Home
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.ports.router import Routes
from trimtab.ports.runs import RunRecord
from trimtab.spec.document import ModelLoop
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.workloads import Workloads

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
PIPELINES = Path(__file__).parents[2] / "pipelines"
SPACE = "/api/v1/namespaces/default"


class StillProduct(Product):
    """A product whose servers, router, collector and runs are objects of the cluster."""

    def __init__(self, api: KubernetesApi, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.api, self.now, self.started_runs = api, T0, []  # type: list[str]
        self.folder, self.runs, self.workloads = folder, MemoryRuns(), Workloads(api)
        self._numbers = iter(range(1, 10_000))
        patch.setattr(envoy_deployment, "editions", lambda _: self._editions())
        patch.setattr(envoy_deployment, "counts", lambda _, mirrors: self._counts())
        patch.setattr(job, "load", functools.cache(job.load))

    def world(self, cluster: Cluster, document: ModelLoop, about: LoopObject) -> World:
        """The real adapters of a bare cluster."""
        home = Home(self.folder / about.namespace / about.name).make()
        place = Place(about.name, about.namespace, self.folder, home.root, "claim", "image:1", owner=about.owner)
        serving = document.spec.serving
        envoy = EnvoyDeployment(cluster, place, serving, patience_seconds=0, now=self._clock)
        servers = DeploymentServers(cluster, place, serving, routed=envoy.routed, now=self._clock)
        return replace(
            super().world(cluster, document, about),
            runs=self.runs,
            runner=JobRunner(cluster, place, self.runs, now=self._clock),
            servers=servers,
            router=envoy,
            collector=CollectorDeployment(cluster, place),
            training_pipeline=PIPELINES / "training-pipeline.yaml",
            monitoring_pipeline=PIPELINES / "monitoring-pipeline.yaml",
        )

    def traffic(self, day: int) -> None:
        """As the routes in force have it."""
        files = self._files()
        if files is not None and files.routes != Routes():
            self.router.apply(files.routes)
            super().traffic(day)

    def act(self) -> None:
        """Everything that a cluster does until nothing is left to do."""
        for _ in range(3):
            self.workloads.step()
            for pod in self.api.objects(f"{SPACE}/pods"):
                if not pod.get("status"):
                    self._run(pod)
        for service in self.api.objects(f"{SPACE}/services"):
            if not service["spec"].get("clusterIP"):
                path = f"{SPACE}/services/{service['metadata']['name']}"
                self.api.request("PATCH", path, {"spec": {"clusterIP": f"10.0.0.{next(self._numbers)}"}}, MERGE)

    def _run(self, pod: Json) -> None:
        meta = pod["metadata"]
        if meta["labels"]["trimtab.dev/role"] == "job":
            command = pod["spec"]["containers"][0]["command"]
            self._work(command[command.index("--run") + 1])
            ended = {"name": "run", "state": {"terminated": {"exitCode": 0}}}
            status: Json = {"phase": "Succeeded", "containerStatuses": [ended]}
        else:
            ready = {"type": "Ready", "status": "True"}
            one = {"name": "server", "ready": True, "restartCount": 0, "containerID": meta["uid"], "state": {}}
            status = {"phase": "Running", "podIP": "127.0.0.9", "conditions": [ready], "containerStatuses": [one]}
        with contextlib.suppress(ApiRefused):
            self.api.request("PATCH", f"{SPACE}/pods/{meta['name']}/status", {"status": status}, MERGE)

    def _work(self, run_id: str) -> None:
        """What a run's pod does: once, and its result is in the store."""
        record = self.runs.run(run_id)
        if record is not None and record.state == "SUCCEEDED":
            return
        asked = request_folder(self.folder / "default" / self.name, run_id)
        parameters = json.loads((asked / "parameters.json").read_text())
        training = (asked / "pipeline.yaml").read_text().find("training-pipeline") > 0
        if training:
            self.started_runs.append(run_id)
        output = (self._train if training else self._monitor)(parameters)
        self.runs.save_run(RunRecord(run_id, "p", "SUCCEEDED", self.now, self.now, output=output))

    def _clock(self) -> datetime:
        return self.now

    def _files(self) -> Files | None:
        found = NearCluster(self.api).get(envoy_deployment.CONFIG_MAPS, "default", f"{self.name}-router")
        return Files.read(found) if found else None

    def _editions(self) -> tuple[str, str, bool]:
        files = self._files()
        return (str(files.clusters_edition), str(files.routes_edition), True) if files else ("", "", False)

    def _counts(self) -> Mapping[str, int]:
        return {
            f"{version} {kind}": getattr(one, kind)
            for version, one in self.router.traffic().items()
            for kind in ("requests", "failures", "mirrored", "mirror_failures")
        }
