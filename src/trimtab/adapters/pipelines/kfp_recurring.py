"""A recurring run of Kubeflow Pipelines that is what it should be: made, replaced, taken away.

KFP cannot change a recurring run and lets any number have one name. So the one that fits is kept, a new one is made
before those that do not fit are deleted, and whatever was broken off half-way is put right by the same call again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trimtab.adapters.json_api import Json
from trimtab.adapters.pipelines.kfp_api import KfpClient
from trimtab.adapters.pipelines.kfp_uploads import Compiled, Uploads

# Runs under way belong to the recurring run that started them, and would be ended with it.
_KEEP_RUNS = {"propagation_policy": "ORPHAN"}
_PATH, _KIND = "recurringruns", "recurringRuns"
Change = Literal["made", "replaced", "unchanged", "removed", "absent"]


@dataclass(frozen=True)
class Kept:
    """What came of it; `enabled` is False for one that a person disabled in KFP, which stays so."""

    change: Change
    recurring_id: str = ""
    enabled: bool = True


@dataclass(frozen=True)
class Schedule:
    """A pipeline that runs again and again, by `cron` (see cron.py), never two at a time, without catching up."""

    name: str
    experiment: str
    cron: str
    compiled: Compiled
    parameters: Mapping[str, Any]


def keep(client: KfpClient, wanted: Schedule) -> Kept:
    """Let exactly this recurring run be there; the same again changes nothing. Raises KfpError, PipelineRefused."""
    body: Json = {
        "display_name": wanted.name,
        "description": f"{wanted.name}, kept by: trimtab submit --every",
        "experiment_id": client.experiment(wanted.experiment),
        "pipeline_version_reference": Uploads(client).reference(wanted.compiled),
        "runtime_config": {"parameters": dict(wanted.parameters)},
        "trigger": {"cron_schedule": {"cron": wanted.cron}},
        "max_concurrency": "1",  # an int64 of protobuf is a string in its JSON
        "no_catchup": True,
    }
    found = _ours(client, wanted.name, body["experiment_id"])
    fitting = [one for one in found if _fits(one, body)]
    enabled = not found or any(_enabled(one) for one in found)
    made = fitting[0] if fitting else client.post(_PATH, {**body, "mode": "ENABLE" if enabled else "DISABLE"})
    left = [one for one in found if one is not made]
    _delete(client, left)
    change: Change = "unchanged" if fitting and not left else "replaced" if found else "made"
    return Kept(change, str(made["recurring_run_id"]), _enabled(made))


def remove(client: KfpClient, name: str, experiment: str) -> Kept:
    """Let there be none; runs that are under way go on. Raises KfpError."""
    experiment_id = client.find_experiment(experiment)
    found = _ours(client, name, experiment_id) if experiment_id else []
    _delete(client, found)
    return Kept("removed", str(found[0]["recurring_run_id"]), False) if found else Kept("absent", enabled=False)


def _ours(client: KfpClient, name: str, experiment_id: str) -> list[Json]:
    """Those of the name in the loop's experiment; elsewhere the name is somebody else's."""
    found = client.named(_PATH, _KIND, name, {**client.space, "experiment_id": experiment_id})
    return [one for one in found if one.get("experiment_id") == experiment_id]


def _fits(found: Json, body: Json) -> bool:
    said = {**found, "max_concurrency": str(found.get("max_concurrency"))}
    said["trigger"] = {"cron_schedule": {"cron": (found.get("trigger") or {}).get("cron_schedule", {}).get("cron")}}
    return all(said.get(key) == body[key] for key in body if key != "description")


def _enabled(found: Json) -> bool:
    return found.get("mode") != "DISABLE" and found.get("status") != "DISABLED"


def _delete(client: KfpClient, those: list[Json]) -> None:
    for one in those:
        client.delete(f"{_PATH}/{one['recurring_run_id']}", _KEEP_RUNS)
