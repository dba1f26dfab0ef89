"""A server on loopback that answers as the API of Kubeflow Pipelines 2.17 does, and remembers what it was sent.

Paths and fields are those of backend/api/v2beta1/swagger of kubeflow/pipelines: health, experiments, runs, recurring
runs; pipelines, their versions and the upload of one. It runs nothing: `finish` says how a run ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from trimtab.testing.json_server import JsonServer, Query, Things

_RECURRING_FIELDS = {  # what recurring_run.proto lets a caller say; any other field is an error
    *("display_name", "description", "pipeline_version_id", "pipeline_spec", "pipeline_version_reference"),
    *("runtime_config", "service_account", "max_concurrency", "trigger", "mode", "no_catchup", "experiment_id"),
}


class KfpApi(JsonServer):
    """`on_run` is told of each new run. With `multi_user` everything belongs to a profile, which callers must name."""

    prefix = "/apis/v2beta1"

    def __init__(self, multi_user: bool = False) -> None:
        super().__init__()
        self.multi_user = multi_user
        self.experiments: Things = {}
        self.runs: Things = {}
        self.recurring_runs: Things = {}
        self.pipelines: Things = {}
        self.versions: Things = {}
        self.deletions: list[tuple[str, str]] = []  # recurring runs, each with the policy for its runs
        self.on_run: Callable[[dict[str, Any]], None] = lambda _run: None

    def finish(self, run_id: str, state: str = "SUCCEEDED", task_error: str = "") -> None:
        """Let a run end in `state` (RuntimeState of the API), perhaps because of a task."""
        run = self.runs[run_id]
        if task_error:
            task = {"display_name": "work", "state": "FAILED", "error": {"code": 2, "message": task_error}}
            run["run_details"] = {"task_details": [task]}
        run["state"] = state

    def found(self, method: str, parts: list[str], query: Query, body: Any) -> tuple[int, Any]:
        """Status and JSON of one call."""
        said = self._found(method, parts, query, body)
        if isinstance(said, int):
            return said, self.refusal(said, f"{'/'.join(parts)} is refused")
        return (200, said) if said is not None else (404, self.refusal(404, "/".join(parts)))

    def _found(self, method: str, parts: list[str], query: Query, body: Any) -> Any:
        match method, parts:
            case "GET", ["healthz"]:
                return {"multi_user": self.multi_user}
            case _, ["experiments", *_]:
                return self._of_experiments(method, query, body)
            case _, ["runs", *rest]:
                return self._of_runs(method, rest, query, body)
            case _, ["recurringruns", *rest]:
                return self._of_recurring_runs(method, rest, query, body)
            case _, ["pipelines", *rest]:
                return self._of_pipelines(method, rest, query, body)
        return None

    def _of_experiments(self, method: str, query: Query, body: Any) -> Any:
        if method == "POST":
            return 400 if self._homeless(body) else _made(self.experiments, "experiment_id", body, "display_name")
        found = _named(self._those(self.experiments, query), query)
        return 400 if self._homeless(query) else {"experiments": found, "total_size": len(found)}

    def _of_runs(self, method: str, parts: list[str], query: Query, body: Any) -> Any:
        found: Any = None
        match method, parts:
            case "GET", []:
                found = _page("runs", _named(self._those(self.runs, query), query), query)
                return 400 if self._homeless(query) else found
            case "POST", [] if self._nameless(body):
                found = 404  # "Failed to create a run as the pipeline version was not found"
            case "POST", []:
                found = _made(self.runs, "run_id", {"state": "PENDING", **body, **self._home(body)})
                self.on_run(found)
            case "GET", [run_id]:
                found = self.runs.get(run_id)
            case "POST", [run_id] if run_id.endswith(":terminate"):
                self.runs[run_id.removesuffix(":terminate")]["state"] = "CANCELING"
                found = {}
        return found

    def _nameless(self, body: Any) -> bool:
        """Whether the run names a pipeline version that is not here (any more)."""
        named = (body.get("pipeline_version_reference") or {}).get("pipeline_version_id")
        return named is not None and named not in self.versions

    def _of_recurring_runs(self, method: str, parts: list[str], query: Query, body: Any) -> Any:
        those, found = self.recurring_runs, None
        match method, parts:
            case "GET", []:
                of = query.get("experiment_id", [""])[0]
                mine = _named(self._those(those, query), query)
                mine = [one for one in mine if not of or one.get("experiment_id") == of]
                nobodys = self._homeless(query) and not of
                found = 400 if nobodys else _page("recurringRuns", mine, query)
            case "POST", []:
                found = _recurring_run(those, {**body, **self._home(body)}) if set(body) <= _RECURRING_FIELDS else 400
            case "GET", [id_]:
                found = those.get(id_)
            case "POST", [call] if call.partition(":")[2] in ("enable", "disable"):
                id_, _, verb = call.partition(":")
                those[id_] |= {"mode": verb.upper(), "status": f"{verb.upper()}D"}
                found = {}
            case "DELETE", [id_]:
                self.deletions.append((id_, query.get("propagation_policy", [""])[0]))
                found = {} if those.pop(id_, None) else None
        return found

    def _home(self, body: Any) -> dict[str, Any]:
        """The namespace is the experiment's, whatever the caller says."""
        experiment = self.experiments.get(body.get("experiment_id") or "") or {}
        return {"namespace": experiment.get("namespace", "")} if self.multi_user else {}

    def _homeless(self, said: Any) -> bool:
        return self.multi_user and not said.get("namespace")

    def _those(self, those: Things, query: Query) -> Things:
        if not self.multi_user or "namespace" not in query:
            return those
        return {key: one for key, one in those.items() if one.get("namespace") == query["namespace"][0]}

    def _of_pipelines(self, method: str, parts: list[str], query: Query, body: Any) -> Any:
        match method, parts:
            case "GET", ["names", name]:
                mine = self._those(self.pipelines, query or {"namespace": [""]})
                return next((one for one in mine.values() if one["name"] == name), None)
            case "POST", []:
                return _made(self.pipelines, "pipeline_id", body, "name")
            case "GET", [pipeline_id, "versions"]:
                found = {key: one for key, one in self.versions.items() if one["pipeline_id"] == pipeline_id}
                return _page("pipeline_versions", _named(found, query), query)
            case "POST", ["upload_version"]:
                given: dict[str, Any] = {key: query[key][0] for key in ("name", "display_name") if key in query}
                spec: Any = next(iter(yaml.safe_load_all(body)))
                made: dict[str, Any] = {**given, "pipeline_id": query["pipelineid"][0], "pipeline_spec": spec}
                return _made(self.versions, "pipeline_version_id", made, "name", "pipeline_id")
        return None


def _recurring_run(those: Things, body: dict[str, Any]) -> Any:
    """A new one as KFP answers it, or 400: toModelJob of api_converter.go. Its cron may have five fields or six."""
    cron = ((body.get("trigger") or {}).get("cron_schedule") or {}).get("cron", "")
    most = int(body.get("max_concurrency") or 0)
    if not body.get("display_name") or not 1 <= most <= 10 or (cron[:1] != "@" and len(cron.split()) not in (5, 6)):
        return 400
    status = "ENABLED" if body.get("mode") == "ENABLE" else "DISABLED"
    mode = status.removesuffix("D")
    return _made(those, "recurring_run_id", {**body, "max_concurrency": str(most), "mode": mode, "status": status})


def _made(those: Things, id_key: str, body: Any, *unique: str) -> Any:
    """A new one, or 409 if there is one that is the same in `unique` and in its namespace."""
    if unique and any(all(one.get(key) == body.get(key) for key in (*unique, "namespace")) for one in those.values()):
        return 409
    number = int(next(reversed(those), "0").rpartition("-")[2]) + 1
    id_ = f"{id_key.removesuffix('_id')}-{number}"
    those[id_] = {id_key: id_, **body, "created_at": f"2026-01-01T00:00:00.{number:06}Z"}
    return those[id_]


def _page(kind: str, found: list[dict[str, Any]], query: Query) -> dict[str, Any]:
    """Two at a time, whatever was asked for: clients must follow the token."""
    start = int(query.get("page_token", ["0"])[0])
    more = {"next_page_token": str(start + 2)} if start + 2 < len(found) else {}
    return {kind: found[start : start + 2], "total_size": len(found), **more}


def _named(those: Things, query: Query) -> list[dict[str, Any]]:
    """Newest first, those of one name only if the filter asks for it."""
    wanted = json.loads(query.get("filter", ["{}"])[0]).get("predicates", [])
    names = {one.get("stringValue", one.get("string_value")) for one in wanted if one["key"] == "display_name"}
    return [one for one in reversed(those.values()) if not names or one.get("display_name") in names]
