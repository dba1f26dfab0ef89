"""A light cluster for benchmarks: what the operator makes on the API server for tests is ready at once: nothing runs.

Deployments get a ready pod each, Services an address, and a Job's run has ended when it is seen: its version is in the
loop's own MLflow store, its ending in the loop's own ledger, as the pod of the Job leaves them. The statistics of every
router's Envoy are answered here, at an address of its pod's own: it has always taken what its ConfigMap says.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from trimtab.adapters.pipelines.job import RUN
from trimtab.adapters.router.envoy_files import NOTE
from trimtab.adapters.router.envoy_in_pod import STATISTICS_PORT
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import ledger_engine
from trimtab.adapters.workloads import LOOP, ROLE
from trimtab.loop.home import Home
from trimtab.ports.runs import RunRecord
from trimtab.stages.register import DIGEST_TAG, connect
from trimtab.testing.kubernetes.refusal import ApiRefused
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.services import loopback
from trimtab.testing.kubernetes.watching import Watch, events

Json = dict[str, Any]
MERGE = "application/merge-patch+json"
DIGEST = "sha256:" + "7" * 64
_MODEL = "model"  # in the template, until a loop's name takes its place
_numbers = itertools.count(1)


class ReadyCluster:
    """A context manager. `volume`: the claim's folder, where the loops' homes are."""

    def __init__(self, api: KubernetesApi, volume: Path, scratch: Path) -> None:
        self.api, self.volume = api, volume
        self._template = _template(scratch)
        self._stop = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.troubles: list[str] = []

    def __enter__(self) -> ReadyCluster:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        for group, plural, tend in (
            ("apps", "deployments", self._deployment),
            ("", "services", self._service),
            ("batch", "jobs", self._job),
        ):
            threading.Thread(target=self._follow, args=(group, plural, tend), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _follow(self, group: str, plural: str, tend: Any) -> None:
        watch = Watch(self.api.store.find(group, "v1", plural), "", lambda _: True, None, 1e9)
        for event in events(self.api.store, watch, self._stop.is_set, 1e9):
            if event and event["type"] != "DELETED":
                try:
                    tend(event["object"])
                except ApiRefused:
                    continue  # gone again
                except Exception as trouble:  # noqa: BLE001 - the benchmark tells
                    self.troubles.append(f"{plural}: {trouble!r}")

    def _deployment(self, found: Json) -> None:
        meta, template = found["metadata"], found["spec"]["template"]
        if (found.get("status") or {}).get("observedGeneration") == meta["generation"]:
            return
        name, space = meta["name"], f"/api/v1/namespaces/{meta['namespace']}/pods"
        address = loopback()
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": meta["uid"], "controller": True}
        about = {**template["metadata"], "name": f"{name}-pod", "ownerReferences": [owner]}
        with contextlib.suppress(ApiRefused):
            self.api.request("POST", space, {"metadata": about, "spec": template["spec"]})
            container = {"name": template["spec"]["containers"][0]["name"], "ready": True, "restartCount": 0}
            container |= {"containerID": f"test://{meta['uid']}", "state": {"running": {}}}
            status = {"phase": "Running", "podIP": address, "conditions": [{"type": "Ready", "status": "True"}]}
            status["containerStatuses"] = [container]
            if meta["labels"][ROLE] == "router":
                files = f"/api/v1/namespaces/{meta['namespace']}/configmaps/{name}"
                asyncio.run_coroutine_threadsafe(self._answer(address, files), self._loop).result(10)
            self.api.request("PATCH", f"{space}/{name}-pod/status", {"status": status}, MERGE)
        stand = {"observedGeneration": meta["generation"], "replicas": 1, "readyReplicas": 1, "availableReplicas": 1}
        path = f"/apis/apps/v1/namespaces/{meta['namespace']}/deployments/{name}/status"
        self.api.request("PATCH", path, {"status": stand}, MERGE)

    def _service(self, found: Json) -> None:
        if found["spec"].get("clusterIP"):
            return
        number = next(_numbers)
        path = f"/api/v1/namespaces/{found['metadata']['namespace']}/services/{found['metadata']['name']}"
        address = f"10.{96 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
        self.api.request("PATCH", path, {"spec": {"clusterIP": address}}, MERGE)

    def _job(self, found: Json) -> None:
        meta = found["metadata"]
        if (found.get("status") or {}).get("conditions"):
            return
        loop, run_id = meta["labels"][LOOP], meta["annotations"][RUN]
        home = Home(self.volume / meta["namespace"] / loop)
        place = Path(home.tracking_uri.removeprefix("sqlite:///"))
        if not place.exists():
            shutil.copy(self._template, place.with_suffix(".part"))
            _rename(place.with_suffix(".part"), loop)
            place.with_suffix(".part").rename(place)
        engine = ledger_engine(home.ledger)
        now = datetime.now(UTC)
        output = {"version": "1", "digest": DIGEST, "verdict": "pass", "evidence": "{}"}
        SqlRuns(engine).save_run(RunRecord(run_id, "training-pipeline", "SUCCEEDED", now, now, output=output))
        engine.dispose()
        path = f"/apis/batch/v1/namespaces/{meta['namespace']}/jobs/{meta['name']}/status"
        done = {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}
        self.api.request("PATCH", path, {"status": {"succeeded": 1, "conditions": [done]}}, MERGE)

    async def _answer(self, address: str, files: str) -> None:
        """Be the statistics listener of the Envoy of one pod; `files`: the path of its ConfigMap."""

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = (await reader.readuntil(b"\r\n\r\n")).decode()
            text = self._told(files, "/stats/prometheus" in asked.partition("\r\n")[0])
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n{text}".encode())
            await writer.drain()
            writer.close()

        await asyncio.start_server(take, address, STATISTICS_PORT)

    def _told(self, files: str, counters: bool) -> str:
        note = json.loads(self.api.request("GET", files)["metadata"]["annotations"][NOTE])
        if counters:
            stable = (note["routes"]["stable"] or {}).get("version", "")
            labels = f'picked="{stable}",route="stable",served="{stable}",status="200",grpc="-",flags="-"'
            return f"# TYPE envoy_trimtab_asked counter\nenvoy_trimtab_asked{{{labels}}} 1234\n"
        given = {
            "cluster_manager.cds.version_text": str(note["clusters_edition"]),
            "http.ingress.rds.routes.version_text": str(note["routes_edition"]),
            "cluster_manager.warming_clusters": 0,
        }
        return json.dumps({"stats": [{"name": name, "value": value} for name, value in given.items()]})


def _template(folder: Path) -> Path:
    """An MLflow store with one registered version, whose making takes MLflow seconds."""
    file = folder / "template.db"
    client = connect(f"sqlite:///{file}")
    client.create_registered_model(_MODEL)
    bundle = folder / "bundle"
    bundle.mkdir()
    client.create_model_version(_MODEL, str(bundle), tags={DIGEST_TAG: DIGEST, "trimtab.evidence": "{}"})
    return file


def _rename(file: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database:
        for table in ("registered_models", "model_versions", "model_version_tags"):
            database.execute(f"UPDATE {table} SET name = ? WHERE name = ?", (name, _MODEL))
        database.commit()
