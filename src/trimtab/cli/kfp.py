"""`trimtab compile` and `trimtab submit`: the pipelines as files, and training on a Kubeflow Pipelines server."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console

from trimtab import wiring
from trimtab.adapters.pipelines import cron, kfp_recurring, kfp_uploads
from trimtab.adapters.pipelines.kfp_api import KfpClient, KfpError
from trimtab.cli.opening import opened
from trimtab.errors import Refused, TrimtabError
from trimtab.loop.calendar import parse_day
from trimtab.spec.document import ModelLoop

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """Where pipelines are submitted to: `namespace` is a profile's, `token_file` holds a bearer token."""

    host: str
    namespace: str = ""
    token_file: Path | None = None


def compile_pipelines(check: bool) -> None:
    """Write every pipeline's YAML beside its source; with `check` exit 1 naming the stale ones."""
    folder = wiring.pipelines_folder()
    stale = []
    for name, text in compiled().items():
        path = folder / f"{name}.yaml"
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if not check:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if check and stale:
        print(f"stale: {', '.join(stale)}. Write them again with: trimtab compile", file=sys.stderr)
        raise SystemExit(1)
    if not stale:
        print("every compiled pipeline is fresh")


def compiled() -> dict[str, str]:
    """Each pipeline's name and its YAML; the same source gives the same text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kfp warns of its own future
        from kfp import compiler

        from trimtab.pipelines.monitoring import monitoring_pipeline
        from trimtab.pipelines.training import training_pipeline

        found = {}
        with tempfile.TemporaryDirectory() as folder:
            for pipeline in (training_pipeline, monitoring_pipeline):
                path = Path(folder) / "pipeline.yaml"
                compiler.Compiler().compile(pipeline, str(path))
                found[pipeline.name] = path.read_text(encoding="utf-8")
    return found


def submit(file: Path | None, server: Server, as_of: str, as_json: bool, tracking_uri: str = "") -> None:
    """Start the training pipeline of the document on the server."""
    document = opened(file, None).document
    client = _reached(server)
    name = document.metadata.name
    parameters = _parameters(document, tracking_uri)
    if as_of:
        parameters["as_of"] = parse_day(as_of, "--as-of").isoformat()
    run = client.post(
        "runs",
        {
            "display_name": f"{name} training",
            "experiment_id": client.experiment(name),
            "pipeline_version_reference": kfp_uploads.Uploads(client).reference(_training()),
            "runtime_config": {"parameters": parameters},
        },
    )
    url = f"{_checked(server.host)}/#/runs/details/{run['run_id']}"
    _say({"run": run["run_id"], "url": url}, f"run {run['run_id']} of {name} has started: {url}", as_json)


def schedule(
    file: Path | None, server: Server, every: str, as_json: bool, tracking_uri: str = "", name: str = ""
) -> None:
    """Let the training pipeline of the document run on the server by a cron, or no longer (`every` is `off`)."""
    document = opened(file, None).document
    when = "" if every == "off" else cron.checked(every)
    client = _reached(server)
    loop = document.metadata.name
    name = name or f"{loop} training"
    if when:
        parameters = _parameters(document, tracking_uri)
        kept = kfp_recurring.keep(client, kfp_recurring.Schedule(name, loop, when, _training(), parameters))
    else:
        kept = kfp_recurring.remove(client, name, loop)
    url = f"{_checked(server.host)}/#/recurringrun/details/{kept.recurring_id}" if when else ""
    told = {"recurring_run": kept.recurring_id, "change": kept.change, "every": when, "enabled": kept.enabled}
    sentence = {
        "made": f"recurring run {kept.recurring_id} ({name}) starts by {when!r}: {url}",
        "replaced": f"recurring run {kept.recurring_id} ({name}) starts by {when!r} instead of the one before: {url}",
        "unchanged": f"recurring run {kept.recurring_id} ({name}) starts by {when!r} already: {url}",
        "removed": f"recurring run {kept.recurring_id} ({name}) is removed; runs under way go on",
        "absent": f"there is no recurring run {name} of {loop}",
    }[kept.change]
    if when and not kept.enabled:
        sentence += "\nit is disabled in Kubeflow Pipelines, by a person: enable it there, or nothing starts"
    _say({**told, "name": name, "url": url}, sentence, as_json)


def _training() -> kfp_uploads.Compiled:
    return kfp_uploads.read(wiring.pipelines_folder() / "training-pipeline.yaml")


def _parameters(document: ModelLoop, tracking_uri: str) -> dict[str, str]:
    path = document.spec.data.source.path
    if path is not None and "://" not in path and not Path(path).is_absolute():
        print(f"note: the pods must find {path!r} in their working folder; a relative path rarely is", file=sys.stderr)
    text = json.dumps(document.model_dump(mode="json", by_alias=True, exclude_none=True))
    return {"loop": text, **({"tracking_uri": tracking_uri} if tracking_uri else {})}


def _say(told: dict[str, object], sentence: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        Console().print(sentence, markup=False, highlight=False, soft_wrap=True)


def _checked(host: str) -> str:
    """The URL without a last slash; raises Refused for what cannot be one. A password in it would be printed."""
    try:
        parts = urlsplit(host)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        whole = False
    if not whole or not re.fullmatch(r"[!-~]+", host):
        raise Refused(f"--host {host!r}: expected the URL of a KFP API, such as http://localhost:8888")
    if "@" in parts.netloc:
        raise Refused("--host: expected a URL without user and password, such as http://localhost:8888")
    return host.rstrip("/")


def _reached(server: Server) -> KfpClient:
    """A client of a server that is there; its health is asked for first, to say what is wrong with the URL."""
    host = _checked(server.host)
    if server.token_file is not None and not server.token_file.is_file():
        raise Refused(f"--token-file {server.token_file}: there is no such file. It holds a bearer token for KFP")
    client = KfpClient(host, server.namespace, server.token_file, _TIMEOUT_SECONDS)
    try:
        client.call("GET", "healthz")
    except KfpError as error:
        if error.code or "is that the URL" in str(error):
            raise TrimtabError(f"{error}. Is that the URL of a KFP 2 API?" if error.code else str(error)) from error
        raise TrimtabError(
            f"no KFP API answers: {error}. Forward one with: kubectl -n kubeflow port-forward svc/ml-pipeline 8888"
        ) from error
    return client
