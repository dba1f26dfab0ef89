"""A real MLflow server on 127.0.0.1: SQLite behind it, and it keeps the artifacts itself (`mlflow-artifacts:`)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from trimtab.adapters.listening import free_port
from trimtab.testing.envoy_world import until

_START_SECONDS = 120.0


class MlflowServer:
    """Started when made; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
        command += ["--workers", "1", "--artifacts-destination", str(folder / "server-artifacts")]
        with (folder / "mlflow.log").open("wb") as output:
            # A session of its own: the server's workers must end with it.
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, cwd=folder)
        until(self._is_ready, _START_SECONDS)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "the MLflow server ended"
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False

    def close(self) -> None:
        """End it and its workers."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
