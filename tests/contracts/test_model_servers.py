"""The contract of model servers over every adapter."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimtab.adapters.servers.memory import MemoryServers
from trimtab.adapters.servers.process import ProcessServers
from trimtab.adapters.supervision import Patience
from trimtab.ports.servers import ServerView
from trimtab.spec.serving import Serving
from trimtab.testing.model_servers import ModelServersSuite

_QUICK = Patience(pause_seconds=0.05, drain_seconds=0.2, probe_every_seconds=0.05)


class TestMemory(ModelServersSuite):
    @pytest.fixture
    def servers(self) -> MemoryServers:
        return MemoryServers()

    def kill(self, servers: MemoryServers, view: ServerView) -> None:
        servers.kill(view.version)

    def breaks(self, servers: MemoryServers, version: str) -> None:
        servers.broken[version] = "the bundle differs from its digest"


@pytest.mark.local
class TestProcesses(ModelServersSuite):
    @pytest.fixture
    def servers(self, tmp_path: Path) -> Iterator[ProcessServers]:
        command = (sys.executable, "-m", "trimtab.testing.fake_server")
        servers = ProcessServers(
            tmp_path / "servers",
            name="m",
            serving=Serving(),
            prediction_log=tmp_path / "predictions",
            command=command,
            patience=_QUICK,
        )
        yield servers
        servers.close()

    def kill(self, servers: ProcessServers, view: ServerView) -> None:
        os.kill(view.pid, signal.SIGKILL)
