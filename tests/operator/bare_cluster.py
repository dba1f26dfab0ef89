"""A bare cluster for tests: API server, node, the operator as a process, and clients of the loop's front door."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml
from operator_product import LOOPS, with_definition

from trimtab.testing.envoy_world import ask
from trimtab.testing.kubernetes.node import Node
from trimtab.testing.kubernetes.server import KubernetesApi

IMAGE, SERVER_IMAGE = "trimtab:test", "trimtab-kserve:test"
LOOP = yaml.safe_load("""
apiVersion: trimtab.dev/v1alpha1
kind: ModelLoop
metadata: {name: signs}
spec:
  scope: {problem: classification, metrics: [{name: accuracy, min: 0.7}]}
  data:
    source: {path: rows.csv}
    time: {column: t}
    label: {column: sign, delay: 1s}
  training: {estimator: LogisticRegression, window: 10m}
  serving: {limits: {timeout: 3s}}
  release:
    steps: [50]
    stepLeast: 2s
    evidence: {leastRequests: 20, leastLabels: 20}
    rollBackWhen: {latencyFloorMs: 3000}
  monitoring: {every: 10s, window: 10m, leastLabels: 60}
  retraining: {causes: [quality], cooldown: 5s, worseThanHoldoutBy: 0.1}
""")


def rows(count: int = 1000) -> str:
    """Rows of some days ago, whose label says whether `x` is above zero."""
    drawn = np.random.default_rng(7)
    begin = datetime.now(UTC) - timedelta(days=3)
    lines = ["t,x,noise,sign"]
    for number in range(count):
        x, noise = drawn.normal(), drawn.normal()
        time = begin + timedelta(seconds=number / 2)
        lines.append(f"{time.isoformat()},{x:.4f},{noise:.4f},{'plus' if x > 0 else 'minus'}")
    return "\n".join(lines) + "\n"


class BareCluster:
    """A context manager. `volume` is the claim's folder; loops, operator and claim are in `namespace`."""

    def __init__(self, folder: Path, namespace: str = "default", **environment: str) -> None:
        self.folder, self.volume, self.namespace = folder, folder / "volume", namespace
        self.loops = LOOPS.replace("/default/", f"/{namespace}/")
        self._stack = contextlib.ExitStack()
        self.api = with_definition(self._stack.enter_context(KubernetesApi()))
        self.images = {IMAGE, SERVER_IMAGE}
        self.node = self._stack.enter_context(Node(self.api, folder / "node", {"claim": self.volume}, self.images))
        self.kubeconfig = self.api.kubeconfig(folder / "kubeconfig")
        if namespace != "default":
            self.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        self.environment = environment
        self.operators: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> BareCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.operators:
            process.kill()
            process.wait()
        self._stack.close()

    def start(self) -> subprocess.Popen[bytes]:
        """Another operator, as the chart starts it."""
        told = {
            "KUBECONFIG": str(self.kubeconfig),
            "POD_NAME": f"operator-{len(self.operators)}",
            "POD_NAMESPACE": self.namespace,
            "TRIMTAB_NAMESPACES": self.namespace,
            "TRIMTAB_METRICS_PORT": "0",
            "TRIMTAB_HEALTH_PORT": "0",
            "TRIMTAB_BUSY_SECONDS": "0.5",
            "TRIMTAB_IDLE_SECONDS": "0.5",
            "TRIMTAB_LEASE_SECONDS": "2",
            "TRIMTAB_IMAGE": IMAGE,
            "TRIMTAB_SERVER_IMAGE": SERVER_IMAGE,
            "TRIMTAB_CLAIM": "claim",
            "TRIMTAB_VOLUME": str(self.volume),
            "TRIMTAB_LISTEN": "$(POD_IP)",
            "TRIMTAB_DRAIN_SECONDS": "2",
            **self.environment,
        }
        with (self.folder / "operator.log").open("ab") as log:
            command = [sys.executable, "-m", "trimtab.operator"]
            process = subprocess.Popen(command, env={**os.environ, **told}, stdout=log, stderr=log)
        self.operators.append(process)
        return process

    def give_rows(self, name: str = "signs") -> None:
        """As `kubectl cp` does."""
        home = self.volume / self.namespace / name
        home.mkdir(parents=True, exist_ok=True)
        (home / "rows.csv.part").write_text(rows())
        (home / "rows.csv.part").rename(home / "rows.csv")

    def status(self, name: str = "signs") -> dict[str, Any]:
        """The loop's status."""
        return dict(self.api.request("GET", f"{self.loops}/{name}").get("status") or {})

    def named(self, kind: str, role: str) -> list[str]:
        """Names of what there is in a role."""
        paths = {"deployments": "/apis/apps/v1", "jobs": "/apis/batch/v1", "pods": "/api/v1", "services": "/api/v1"}
        found = self.api.objects(
            f"{paths[kind]}/namespaces/{self.namespace}/{kind}?labelSelector=trimtab.dev/role={role}"
        )
        return [one["metadata"]["name"] for one in found]

    def events(self) -> list[dict[str, Any]]:
        """What was told."""
        return self.api.objects(f"/api/v1/namespaces/{self.namespace}/events")

    def asked(self) -> set[tuple[str, str, str]]:
        """(group, resource, verb) of every call of an operator."""
        return {
            (call.group, f"{call.plural}/{call.subresource}".rstrip("/"), call.verb)
            for call in list(self.api.calls)
            if call.plural and ("OpenAPI" in call.agent or "kopf" in call.agent)
        }

    def reasons(self) -> list[str]:
        """What was decided, by the events."""
        return [one["reason"] for one in self.events()]

    def door(self) -> str:
        """host:port of the router's Service, or ""."""
        path = f"/api/v1/namespaces/{self.namespace}/services?labelSelector=trimtab.dev/role=router"
        for one in self.api.objects(path):
            return f"{one['spec'].get('clusterIP')}:{one['spec']['ports'][0]['port']}"
        return ""

    def told(self) -> str:
        """Everything there is to know when a test fails."""
        log = (self.folder / "operator.log").read_text()[-3000:]
        return f"{json.dumps(self.status(), indent=1)}\n{log}\n{self.node.log('signs')}\n{self.node.troubles[-3:]}"


class Clients:
    """Clients that predict and send labels while the block runs. `turned`: what was plus is minus from now on."""

    def __init__(self, cluster: BareCluster) -> None:
        self._cluster, self._stop = cluster, threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.turned = False
        self.answers: Counter[str] = Counter()  # by version
        self.lost: Counter[str] = Counter()

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        drawn = np.random.default_rng(1)
        number = 0
        while not self._stop.wait(0.02):
            number += 1
            x = float(drawn.normal())
            label = "plus" if (x > 0) != self.turned else "minus"
            try:
                self._one(f"request-{number}", {"x": x, "noise": float(drawn.normal())}, label)
            except OSError as error:
                self.lost[type(error).__name__] += 1

    def _one(self, id_: str, row: dict[str, float], label: str) -> None:
        door = self._cluster.door()
        body = json.dumps({"instances": [row]}).encode()
        status, answer, headers = ask(door, "POST", "/v1/models/signs:predict", body, headers={"x-request-id": id_})
        if status != 200:
            self.lost[f"{status} {answer}"] += 1
            return
        self.answers[headers["x-served-by"]] += 1
        said = {"content-type": "application/json"}
        status, answer, _ = ask(
            door, "POST", "/v1/feedback", json.dumps({"id": id_, "label": label}).encode(), headers=said
        )
        if status != 202:
            self.lost[f"label: {status} {answer}"] += 1
