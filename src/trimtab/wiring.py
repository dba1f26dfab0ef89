"""Which adapters a loop gets on one machine. The only module that knows both the loop and the technologies.

Technologies are imported where they are made: looking at a ledger must not wait for a model server's libraries.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.adapters.runs.memory import MemoryRuns
from trimtab.adapters.runs.sql import SqlRuns
from trimtab.adapters.sql import LEDGER_URL, ledger_engine, ledger_place
from trimtab.adapters.turns.memory import MemoryTurns
from trimtab.adapters.turns.sql import SqlTurns
from trimtab.loop.audit import Learnt
from trimtab.loop.home import Home
from trimtab.loop.world import Turns, World
from trimtab.ports.records import RecordReader, RecordWriter
from trimtab.ports.router import Router
from trimtab.ports.runs import RunRecord, RunStore, TaskRecord
from trimtab.ports.servers import ModelServers
from trimtab.ports.service import Service
from trimtab.spec.document import ModelLoop

if TYPE_CHECKING:
    import pandas as pd

    from trimtab.adapters.registry.mirror import Publisher

__all__ = ["Ledger", "Turns"]

_MOST_RUNS = 10_000
_FLUSH_SECONDS = 5.0
_ALWAYS = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


@dataclass(frozen=True)
class Ledger:
    """What is remembered of a loop: its turns and wishes, its pipeline runs and their tasks."""

    turns: Turns
    runs: RunStore


def ledger(document: ModelLoop, home: Home) -> Ledger:
    """The loop's ledger; an empty one in memory where nothing was remembered yet, so that looking leaves no trace."""
    if not home.ledger.exists() and not os.environ.get(LEDGER_URL):
        return Ledger(MemoryTurns(), MemoryRuns())
    return lasting_ledger(document, home)


def lasting_ledger(document: ModelLoop, home: Home) -> Ledger:
    """The loop's ledger, made if it is not there: in the database that TRIMTAB_LEDGER_URL names, else on disk."""
    engine = ledger_engine(ledger_place(home.make().ledger))
    return Ledger(SqlTurns(engine, document.metadata.name), SqlRuns(engine))


def training_world(document: ModelLoop, path: Path, home: Home, observer: Callable[[TaskRecord], None]) -> World:
    """A world that trains and registers; nothing is served in it. `observer` is told of every change of a task."""
    from trimtab.adapters.router.memory import MemoryRouter
    from trimtab.adapters.servers.memory import MemoryServers, MemoryService

    publisher = _publisher()
    world = _world(document, path, home, MemoryServers(), MemoryRouter(), MemoryService(), observer)
    return shown(world, document.metadata.name, publisher)


def live_world(document: ModelLoop, path: Path, home: Home, port: int | None) -> World:
    """Everything as real processes on loopback; `port` instead of `serving.port`: a taken one raises TrimtabError."""
    _refuse_taken(document, home, port)
    publisher = _publisher()
    return shown(_served(document, path, home, port, virtual_time=False), document.metadata.name, publisher)


def _refuse_taken(document: ModelLoop, home: Home, port: int | None) -> None:
    """Before anything is made: a router that finds its port taken would only try again and again."""
    from trimtab.adapters.listening import refuse_taken, resolve
    from trimtab.adapters.process import end_orphan

    end_orphan(home.router / "process.json")  # the router of a killed controller may hold it still
    serving = document.spec.serving
    refuse_taken(serving.host, resolve(serving.host), serving.port if port is None else port)


def shown(world: World, name: str, publisher: Publisher | None) -> World:
    """The same, its versions and aliases shown in a second registry too, if there is one."""
    if publisher is None:
        return world
    from trimtab.adapters.registry.mirror import MirroredRegistry

    registry = MirroredRegistry(world.registry, publisher)
    return replace(world, registry=registry, remark=lambda: publisher.trouble(name))


def _publisher() -> Publisher | None:
    """To the registry that the environment names; what it was not told yet is told when this process ends."""
    from trimtab.adapters.registry.mirror import publisher_from_environment

    found = publisher_from_environment()
    if found is not None:
        atexit.register(found.flush, _FLUSH_SECONDS)
    return found


def replay_world(document: ModelLoop, path: Path, home: Home) -> World:
    """Served on a free port, where requests and labels carry their own virtual time; no other registry is told."""
    return _served(document, path, home, 0, virtual_time=True)


def baseline_servers(document: ModelLoop, home: Home) -> ModelServers:
    """Servers outside the loop, with a log of their own, for a version that is only compared with."""
    from trimtab.adapters.servers.process import ProcessServers

    folder = home.root / "baseline"
    return ProcessServers(
        folder / "servers",
        name=document.metadata.name,
        serving=document.spec.serving,
        prediction_log=folder / "predictions",
        accept_time_header=True,
    )


def history(document: ModelLoop, path: Path) -> pd.DataFrame:
    """All rows of the source; raises DataRefused."""
    from trimtab.stages.identity import named_columns
    from trimtab.stages.ingest import read_all

    return read_all(document.spec.data, path.parent, named=named_columns(document.spec))


def input_columns(world: World, name: str, version: str) -> Sequence[str]:
    """The raw columns that a request to a version holds; raises ArtifactCorrupt."""
    from trimtab.stages.bundle import frames
    from trimtab.stages.identity import RESERVED

    found = world.registry.version(name, version)
    return [column for column in frames(found.bundle, found.digest)[1].columns if column not in RESERVED]


def answers_logged(world: World, since: datetime, until: datetime) -> Mapping[str, int]:
    """How many records of each id say that they answered it: those of its last attempt, mirrored ones left out."""
    import pyarrow.compute as pc

    told = world.predictions.read(since, until)
    live = told.filter(pc.invert(told["shadow"])).select(["id", "attempt"])
    counted = live.group_by(["id", "attempt"]).aggregate([([], "count_all")]).sort_by("attempt")
    return dict(zip(counted["id"].to_pylist(), counted["count_all"].to_pylist(), strict=True))


def monitoring_runs(runs: RunStore, home: Home) -> list[tuple[RunRecord, str]]:
    """Monitoring runs that succeeded, newest first, each with the path of its report."""
    return [
        (run, _kept(_artifact(runs.tasks(run.run_id), "report"), home.reports / f"{run.run_id}.html"))
        for run in runs.runs(_MOST_RUNS)
        if run.pipeline == "monitoring-pipeline" and run.state == "SUCCEEDED"
    ]


def learnt(runs: RunStore) -> list[Learnt]:
    """What each training run that succeeded trained and judged on, as its split wrote it."""
    import pandas as pd

    found = []
    for run in runs.runs(_MOST_RUNS):
        if run.pipeline == "training-pipeline" and run.state == "SUCCEEDED":
            tasks = runs.tasks(run.run_id)
            parts = [pd.read_parquet(_artifact(tasks, name), columns=["_id"])["_id"] for name in ("train", "holdout")]
            ids = [str(one) for part in parts for one in part]
            found.append(Learnt(run.run_id, datetime.fromisoformat(str(run.parameters["as_of"])), ids))
    return found


def labels_arrived(world: World) -> Mapping[str, datetime]:
    """When the first label of each id came."""
    told = world.labels.read(*_ALWAYS)
    arrived: dict[str, datetime] = {}
    for id_, time in zip(told["id"].to_pylist(), told["time"].to_pylist(), strict=True):
        arrived[id_] = min(time, arrived.get(id_, time))
    return arrived


def _kept(report: str, page: Path) -> str:
    """The report under a name that a browser knows (artifacts have no ending); "" if it is gone."""
    if not page.is_file() and Path(report).is_file():
        page.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):  # somebody else looks at the same moment
            os.link(report, page)
    return str(page) if page.is_file() else ""


def example_row(world: World, name: str, version: str) -> Mapping[str, Any]:
    """A real row as a request holds it: the first of the version's hold-out; raises ArtifactCorrupt."""
    from trimtab.stages.bundle import frames

    found = world.registry.version(name, version)
    row = frames(found.bundle, found.digest)[1][[*input_columns(world, name, version)]].head(1)
    return dict(json.loads(row.to_json(orient="records", double_precision=15))[0]) if len(row) else {}


def run_result(world: World, key: str) -> dict[str, Any]:
    """The run of a key with its tasks, for people and scripts."""
    view = world.runner.look(key)
    if view is None:
        return {"run": "", "state": "PENDING", "reason": "", "tasks": []}
    tasks = [
        {"path": task.path, "state": task.state, "seconds": _seconds(task), "log": task.log}
        for task in world.runs.tasks(view.run_id)
    ]
    return {"run": view.run_id, "state": view.state, "reason": view.reason, "tasks": tasks}


def _seconds(task: TaskRecord) -> float | None:
    if task.started is None or task.ended is None:
        return None
    return round((task.ended - task.started).total_seconds(), 3)


def _artifact(tasks: Sequence[TaskRecord], name: str) -> str:
    for task in tasks:
        found = task.outputs.get(name)
        if isinstance(found, Mapping) and "uri" in found:
            return str(found["uri"])
    return ""


def _served(document: ModelLoop, path: Path, home: Home, port: int | None, virtual_time: bool) -> World:
    from trimtab.adapters.router.envoy import EnvoyRouter
    from trimtab.adapters.servers.collector import CollectorProcess
    from trimtab.adapters.servers.process import ProcessServers

    serving = document.spec.serving
    if port is not None:
        serving = serving.model_copy(update={"port": port})
    servers = ProcessServers(
        home.servers,
        name=document.metadata.name,
        serving=serving,
        prediction_log=home.predictions,
        accept_time_header=virtual_time,
    )
    collector = CollectorProcess(
        home.root / "collector",
        home=home.root,
        accept_time_header=virtual_time,
        numbers=document.spec.scope.problem == "regression",
    )
    return _world(document, path, home, servers, EnvoyRouter(home.router, serving), collector)


def _world(
    document: ModelLoop,
    path: Path,
    home: Home,
    servers: ModelServers,
    router: Router,
    collector: Service,
    observer: Callable[[TaskRecord], None] | None = None,
) -> World:
    from trimtab.adapters.pipelines.local import LocalRunner
    from trimtab.adapters.registry.mlflow import MlflowRegistry

    kept = lasting_ledger(document, home)
    predictions, labels = _logs(home)
    pipelines = pipelines_folder()
    return World(
        turns=kept.turns,
        runs=kept.runs,
        runner=LocalRunner(kept.runs, home.runs, observer=observer, begin_in=path.parent),
        servers=servers,
        router=router,
        collector=collector,
        registry=MlflowRegistry(home.tracking_uri, home.root / "artifacts"),
        predictions=predictions,
        labels=labels,
        training_pipeline=pipelines / "training-pipeline.yaml",
        monitoring_pipeline=pipelines / "monitoring-pipeline.yaml",
        predictions_folder=home.predictions,
        labels_folder=home.labels,
        tracking_uri=home.tracking_uri,
        artifact_root=home.artifacts,
        document_text=document_text(document, path.parent),
    )


def pipelines_folder() -> Path:
    """Where the compiled pipelines are: in the package, or at the top of a checkout."""
    import trimtab.pipelines

    return Path(trimtab.pipelines.__path__[0])


def document_text(document: ModelLoop, folder: Path) -> str:
    """The document as the pipelines take it: JSON, with the source's path made absolute."""
    text = document.model_dump(mode="json", by_alias=True, exclude_none=True)
    source = text["spec"]["data"]["source"]
    if source.get("path") and "://" not in source["path"]:
        source["path"] = str(folder / source["path"])
    return json.dumps(text)


def label_writer(home: Home) -> RecordWriter:
    """Appends to the loop's label log; raises StorageFull."""
    from trimtab.adapters.records.journal import Journal

    return Journal(home.labels, "file")


def _logs(home: Home) -> tuple[RecordReader, RecordReader]:
    from trimtab.adapters.records.places import record_log
    from trimtab.adapters.records.schema import LABELS, PREDICTIONS

    return record_log(home.predictions, PREDICTIONS), record_log(home.labels, LABELS)
