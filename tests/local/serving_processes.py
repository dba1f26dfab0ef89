"""The real model server and collector as processes, for tests that kill them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gated_estimator import Gated

from trimtab.adapters.listening import free_port
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS, PREDICTIONS
from trimtab.stages import bundle
from trimtab.testing.bundles import MadeBundle
from trimtab.testing.envoy_world import ask, until

GOOD = {"weight": 40.5, "hindfoot": 30.5, "sex": "M", "plot": 3}
EVER = (datetime(1678, 1, 1, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC))


class Process:
    """A server with its output in a file."""

    def __init__(self, folder: Path, command: list[str], probe: str, port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / "output.log"
        self.address = f"127.0.0.1:{port}"
        self._probe = probe
        with self.output.open("ab") as output:
            environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}  # for gated_estimator
            self.popen = subprocess.Popen([sys.executable, *command], stdout=output, stderr=output, env=environment)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def await_ready(self, seconds: float = 60) -> None:
        until(self._is_ready, seconds)

    def _is_ready(self) -> bool:
        assert self.popen.poll() is None, self.output.read_text()
        try:
            return ask(self.address, "GET", self._probe)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def text(self) -> str:
        return self.output.read_text()

    def kill(self) -> None:
        """kill -9."""
        self.popen.kill()
        self.popen.wait(20)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


def gated(made: MadeBundle, folder: Path, gate: Path) -> MadeBundle:
    """The same bundle, whose model waits for the file `gate`."""
    manifest = bundle.verify(made.folder, made.digest).model_copy(update={"files": {}})
    reference, holdout, evaluation = bundle.frames(made.folder, made.digest)
    found = made.load()
    parts = (found.contract, found.transform, Gated(found.estimator, gate), reference, holdout, evaluation)
    return replace(made, folder=folder, digest=bundle.write(folder, manifest, *parts))


def model_server(folder: Path, made: MadeBundle, *options: str, grpc_port: int = 0, ready: bool = True) -> Process:
    """One version `7` of model `m`; its log is in folder/predictions."""
    port = free_port(avoid={grpc_port})
    command = ["-m", "trimtab.serving.kserve.server", "--name", "m", "--version", "7", "--bundle", str(made.folder)]
    command += ["--digest", made.digest, "--log-dir", str(folder / "predictions"), "--http-port", str(port)]
    process = Process(folder, [*command, "--grpc-port", str(grpc_port), *options], "/v2/health/ready", port)
    if ready:
        process.await_ready()
    return process


def collector(home: Path, *options: str) -> Process:
    """The collector of `home`."""
    port = free_port()
    command = ["-m", "trimtab.serving.collector", "--home", str(home), "--port", str(port), *options]
    process = Process(home / "collector", command, "/healthz", port)
    process.await_ready()
    return process


def predict(address: str, *rows: dict[str, Any], request_id: str = "") -> tuple[int, Any, dict[str, str]]:
    """One V1 request."""
    headers = {"x-request-id": request_id} if request_id else {}
    return ask(address, "POST", "/v1/models/m:predict", json.dumps({"instances": rows}).encode(), headers=headers)


def predictions(home: Path) -> list[dict[str, Any]]:
    """Every record of the prediction log."""
    found: list[dict[str, Any]] = RecordFolder(home / "predictions", PREDICTIONS).read(*EVER).to_pylist()
    return found


def labels(home: Path) -> list[dict[str, Any]]:
    """Every record of the label log."""
    found: list[dict[str, Any]] = RecordFolder(home / "labels", LABELS).read(*EVER).to_pylist()
    return found
