"""Pods of the chart model-release as processes: our servers, by their rendered arguments, behind the rendered Envoy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from release_switches import UPGRADE
from rendered_envoy import RenderedEnvoy, free_port
from rendering import of_kind, rendered

from trimtab.ports.router import Target
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle
from trimtab.testing.envoy_world import ask, until

pytestmark = pytest.mark.local
Json = dict[str, Any]
ROW = {"weight": 44, "hindfoot": 27.5, "sex": "M", "plot": 3}


class Pods:
    """The servers of a release on this machine."""

    def __init__(self, folder: Path, executable: str, made: MadeBundle) -> None:
        self.folder, self._executable, self._made = folder, executable, made
        self.processes: list[subprocess.Popen[bytes]] = []

    def values(self, percent: int) -> Json:
        found: Json = {"model": "rodents", "trafficPercent": percent}
        for role, version in (("champion", "1"), ("challenger", "2"), ("shadow", "3")):
            found |= {f"{role}.version": version, f"{role}.uri": "pvc://c", f"{role}.digest": self._made.digest}
        return found

    def start(self, version: str) -> Target:
        """What the Deployment's container runs; only its folders, ports and host are those of this machine."""
        deployments = of_kind(
            rendered(self._executable, "model-release", {**self.values(0), UPGRADE: True}), "Deployment"
        )
        (one,) = [one for one in deployments if one["metadata"]["name"] == f"r-v{version}"]
        container = one["spec"]["template"]["spec"]["containers"][0]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        http, rpc = free_port(), free_port()
        here = {
            "/mnt/models": str(self._made.folder),
            "/var/lib/trimtab": str(self.folder / version),
            "=0.0.0.0": "=127.0.0.1",
            "=8080": f"={http}",
            "=8081": f"={rpc}",
            **{f"$({name})": value for name, value in environment.items()},
        }
        given = list(container["args"])
        for path, local in here.items():
            given = [argument.replace(path, local) for argument in given]
        command = [sys.executable, "-m", "trimtab.serving.kserve.server", *given]
        self.processes.append(subprocess.Popen(command, env={**os.environ, **environment}))
        return Target(version, f"127.0.0.1:{http}", f"127.0.0.1:{rpc}")

    def ready(self, target: Target) -> bool:
        try:
            return ask(target.address, "GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False

    def shadows(self, version: str) -> list[bool]:
        """Of each record in a version's prediction log, whether it says that it was a copy."""
        files = (self.folder / version / "predictions").rglob("*")
        lines = [line for path in files if path.is_file() for line in path.read_bytes().rstrip(b"\0").splitlines()]
        return [json.loads(line)["shadow"] for line in lines if line.strip(b"\0")]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def pods(tmp_path: Path, a_helm: str) -> Iterator[Pods]:
    pods = Pods(tmp_path, a_helm, bundles.make(tmp_path / "bundle"))
    yield pods
    pods.close()


def test_a_release_of_real_servers(pods: Pods, tmp_path: Path, a_helm: str) -> None:
    """V1 and gRPC through one port, a share that changes, and copies that the log knows as copies."""
    envoy = RenderedEnvoy(tmp_path, a_helm)
    try:
        for version in ("1", "2", "3"):
            envoy.servers.targets[version] = pods.start(version)
        until(lambda: all(pods.ready(target) for target in envoy.servers.targets.values()), 120)
        envoy.apply(pods.values(0))
        until(lambda: _predict(envoy, "first")[0] == 200)
        assert _versions(envoy, 20) == {"1": 20}
        assert _by_grpc(envoy) == "1"
        envoy.apply(pods.values(50))
        until(lambda: len(_versions(envoy, 20)) == 2)
        envoy.apply(pods.values(100))
        until(lambda: _versions(envoy, 5) == {"2": 5})
        assert _by_grpc(envoy) == "2"
        status, answer = _predict(envoy, "wrong", {**ROW, "sex": 7})
        assert (status, "sex" in answer["error"]) == (422, True)
        until(lambda: len(pods.shadows("3")) > 20)
        assert set(pods.shadows("3")) == {True}
        assert set(pods.shadows("1")) == {False}
    finally:
        envoy.close()


def _predict(envoy: RenderedEnvoy, request_id: str, row: Json | None = None) -> tuple[int, Any]:
    body = json.dumps({"instances": [row or ROW]}).encode()
    return ask(envoy.address, "POST", "/v1/models/rodents:predict", body, headers={"x-request-id": request_id})[:2]


def _versions(envoy: RenderedEnvoy, count: int) -> Counter[str]:
    answers = [_predict(envoy, f"p-{number}") for number in range(count)]
    assert {status for status, _ in answers} == {200}
    return Counter(answer["version"] for _, answer in answers)


def _by_grpc(envoy: RenderedEnvoy) -> str:
    """The version that answers ModelInfer."""
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as v2
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    contents = {"FP64": "fp64_contents", "INT64": "int64_contents", "BYTES": "bytes_contents"}
    request = v2.ModelInferRequest(model_name="rodents")
    for name, kind in (("weight", "FP64"), ("hindfoot", "FP64"), ("sex", "BYTES"), ("plot", "INT64")):
        tensor = request.inputs.add(name=name, datatype=kind, shape=[1])
        value = ROW[name]
        getattr(tensor.contents, contents[kind]).append(str(value).encode() if kind == "BYTES" else value)
    with grpc.insecure_channel(envoy.address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
    return str(answer.model_version)
