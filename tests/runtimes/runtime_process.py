"""A serving runtime's real process on loopback, started by its room's own command in its own environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.listening import free_port
from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.testing.envoy_world import ask, until
from trimtab.testing.record_logs import ALWAYS

ENVIRONMENTS = Path(__file__).parents[2] / ".venv-runtimes"
READY_SECONDS = 90.0
Row = dict[str, Any]
KINDS = {"weight": "FP64", "hindfoot": "FP64", "sex": "BYTES", "plot": "INT64"}


@dataclass(frozen=True)
class Reply:
    """What a runtime answered: `error` is empty and the rest is there, or the other way round."""

    status: int
    error: str = ""
    predictions: tuple[str, ...] = ()
    scores: tuple[tuple[float, ...], ...] = ()
    ids: tuple[str, ...] = ()
    version: str = ""


class Runtime(ABC):
    """One runtime: how it is started, and how a client of its own protocol talks to it."""

    name: str
    ready_path = "/v2/health/ready"

    @property
    def python(self) -> Path:
        """The interpreter of its environment; skips the test where there is none."""
        if not (ENVIRONMENTS / self.name / ".ready").is_file():
            pytest.skip(
                f"no {ENVIRONMENTS.name}/{self.name}: run .ci/test-runtimes .venv/bin/python {ENVIRONMENTS.name}"
            )
        return ENVIRONMENTS / self.name / "bin" / "python"

    @abstractmethod
    def predict(self, address: str, rows: Sequence[Row], request_id: str) -> Reply:
        """One request for these rows, all of which have the same columns."""

    def is_ready(self, address: str) -> bool:
        """What its probe asks."""
        return ask(address, "GET", self.ready_path)[0] == 200


class V2(Runtime):
    """A runtime that speaks the open inference protocol."""

    error_field = "error"

    def predict(self, address: str, rows: Sequence[Row], request_id: str) -> Reply:
        body = {"id": request_id, "inputs": [self.tensor(name, rows) for name in rows[0]]}
        path = "/v2/models/rodents/infer"
        status, answer, _ = ask(
            address, "POST", path, json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
        return Reply(status, error=answer[self.error_field]) if status != 200 else read_v2(answer)

    def tensor(self, name: str, rows: Sequence[Row]) -> dict[str, Any]:
        values = [row[name] for row in rows]
        return {"name": name, "shape": [len(rows)], "datatype": KINDS.get(name, "FP64"), "data": values}


def read_v2(answer: Any) -> Reply:
    """The ids of n rows are those by which labels name them later."""
    data = {one["name"]: one["data"] for one in answer["outputs"]}
    rows, given = len(data["prediction"]), answer["id"]
    width = len(data["scores"]) // rows
    return Reply(
        200,
        predictions=tuple(data["prediction"]),
        scores=tuple(tuple(data["scores"][row * width : row * width + width]) for row in range(rows)),
        ids=(given,) if rows == 1 else tuple(f"{given}-{row}" for row in range(rows)),
        version=answer["model_version"],
    )


class Running:
    """A started process; `acknowledged` is what its answers said, by row id."""

    def __init__(self, runtime: Runtime, process: subprocess.Popen[bytes], port: int, home: Path) -> None:
        self.address = f"127.0.0.1:{port}"
        self.acknowledged: dict[str, str] = {}
        self.process = process
        self._runtime = runtime
        self._home = home

    def ready(self) -> bool:
        """Whether a prediction can be asked for; fails if it has ended instead."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said()[-3000:]}"
        with contextlib.suppress(OSError, ValueError):
            return self._runtime.is_ready(self.address)
        return False

    def predict(self, rows: Sequence[Row], request_id: str) -> Reply:
        reply = self._runtime.predict(self.address, rows, request_id)
        if not reply.error:
            self.acknowledged |= dict(zip(reply.ids, reply.predictions, strict=True))
        return reply

    def terminate(self) -> int:
        """SIGTERM to the process itself, as a kubelet sends it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def said(self) -> str:
        return (self._home / "out").read_text(errors="replace")

    def log(self) -> list[dict[str, Any]]:
        """The records that a loop would find."""
        found: list[dict[str, Any]] = RecordFolder(self._home / "log", PREDICTIONS).read(*ALWAYS).to_pylist()
        return found


@contextmanager
def started(runtime: Runtime, bundle: Path, digest: str, home: Path) -> Iterator[Running]:
    """The runtime's process; all that it started has ended afterwards."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "tmp").mkdir()
    port = free_port()
    command: list[str | Path] = [runtime.python, "-m", f"trimtab.serving.{runtime.name}.server"]
    command += ["--name", "rodents", "--version", "7", "--bundle", bundle, "--digest", digest]
    command += ["--log-dir", home / "log", "--http-port", str(port)]
    environment = {**os.environ, "TMPDIR": str(home / "tmp"), "HOME": str(home)}
    environment.pop("PYTHONPATH", None)
    with (home / "out").open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=home, start_new_session=True
        )
    try:
        yield Running(runtime, process, port, home)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session: whatever workers it has
        process.wait()


def wait_ready(running: Running) -> None:
    until(running.ready, READY_SECONDS)
