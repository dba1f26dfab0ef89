"""`trimtab compile` and `trimtab submit`: the pipelines as files, and one of them on a Kubeflow Pipelines server."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import sys
import tempfile
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from trimtab import wiring
from trimtab.cli.opening import opened
from trimtab.errors import Refused, TrimtabError
from trimtab.loop.calendar import parse_day

_TIMEOUT_SECONDS = 10


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


def submit(file: Path | None, host: str, as_of: str, as_json: bool, tracking_uri: str = "") -> None:
    """Start the training pipeline of the document on the server at `host`."""
    document = opened(file, None)
    host = _checked(host)
    _reach(host)
    name = document.document.metadata.name
    parameters = {"loop": json.dumps(document.document.model_dump(mode="json", by_alias=True, exclude_none=True))}
    if as_of:
        parameters["as_of"] = parse_day(as_of, "--as-of").isoformat()
    if tracking_uri:
        parameters["tracking_uri"] = tracking_uri
    path = document.document.spec.data.source.path
    if path is not None and "://" not in path and not Path(path).is_absolute():
        print(f"note: the pods must find {path!r} in their working folder; a relative path rarely is", file=sys.stderr)
    run_id = _start(host, name, parameters)
    url = f"{host}/#/runs/details/{run_id}"
    if as_json:
        print(json.dumps({"run": run_id, "url": url}, indent=2))
    else:
        Console().print(f"run {run_id} of {name} has started: {url}", markup=False, highlight=False, soft_wrap=True)


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


def _reach(host: str) -> None:
    """Ask for its health first: kfp's own client tries for half a minute and then shows a traceback."""
    url = f"{host}/apis/v2beta1/healthz"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http(s), checked before
            json.load(answer)
    except urllib.error.HTTPError as error:
        raise TrimtabError(f"{url} answers {error.code} {error.reason}: is that the URL of a KFP 2 API?") from error
    except (ValueError, http.client.HTTPException) as error:
        raise TrimtabError(f"{url} does not answer in JSON: is that the URL of a KFP 2 API?") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise TrimtabError(
            f"no KFP API answers at {host}: {reason}. Forward one with: "
            "kubectl -n kubeflow port-forward svc/ml-pipeline 8888"
        ) from error


def _start(host: str, name: str, parameters: dict[str, Any]) -> str:
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):  # kfp prints links; stdout may be JSON
        warnings.simplefilter("ignore")
        import kfp
        from kfp_server_api import ApiException

        try:
            client = kfp.Client(host=host)
            started = client.create_run_from_pipeline_package(
                str(wiring.pipelines_folder() / "training-pipeline.yaml"),
                arguments=parameters,
                run_name=f"{name} training",
                experiment_name=name,
            )
        except ApiException as error:
            raise TrimtabError(f"the KFP API at {host} refused: {error.status} {error.reason}: {error.body}") from error
    return str(started.run_id)
