"""A real Prometheus that reads a small exporter process; both die with `close`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from trimtab.adapters.listening import free_port
from trimtab.errors import TrimtabError
from trimtab.testing.envoy_world import until

BINARY = shutil.which("prometheus")
MISSING = "no prometheus on PATH: apt-get install prometheus (.ci/setup does it as root)"
_CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: servers
    static_configs:
      - {{targets: ["127.0.0.1:{port}"], labels: {{namespace: shop}}}}
"""


class Watched:
    """Both processes. `tell` is what the exporter says from now on; scraped five times a second."""

    def __init__(self, folder: Path) -> None:
        """Files live in `folder`."""
        self.folder, self.port = folder, free_port()
        self.text = folder / "metrics.txt"
        self.tell({})
        self.exporter = subprocess.Popen(
            [sys.executable, "-m", "trimtab.testing.metrics_exporter", str(self.text)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.exporter.stdout is not None
        port = int(self.exporter.stdout.readline())
        (folder / "prometheus.yml").write_text(_CONFIG.format(port=port))
        self.start()

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start Prometheus, on the data that is there."""
        if BINARY is None:
            raise TrimtabError(MISSING)
        self.process = subprocess.Popen(
            [
                BINARY,
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._ready, 60)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9 Prometheus."""
        self.process.kill()
        self.process.wait()

    def tell(self, metrics: dict[str, float]) -> None:
        """Every series with its value."""
        part = self.text.with_suffix(".part")
        part.write_text("".join(f"{name} {value}\n" for name, value in metrics.items()))
        part.rename(self.text)

    def seen(self, series: str, value: float) -> None:
        """Wait until Prometheus has read this value."""

        def told() -> bool:
            query = urllib.parse.quote(f"{series} == {value}")
            with urllib.request.urlopen(f"{self.url}/api/v1/query?query={query}", timeout=5) as answer:  # noqa: S310
                return bool(json.load(answer)["data"]["result"])

        until(told, 60)

    def pause_exporter(self, paused: bool) -> None:
        """Let the exporter hang, or go on."""
        self.exporter.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def close(self) -> None:
        """End both."""
        for process in (self.process, self.exporter):
            process.kill()
            process.communicate()
