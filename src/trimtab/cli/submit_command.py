"""`trimtab submit`: its options. What it does is in kfp.py, whose libraries are loaded only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trimtab.errors import Refused


def submit(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A loop.yaml or its folder; default: the nearest one upward."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="URL of the KFP API, such as http://localhost:8888.", envvar="KFP_HOST")
    ] = "",
    as_of: Annotated[str, typer.Option("--as-of", help="Train as if it were this day.")] = "",
    tracking_uri: Annotated[
        str, typer.Option(help="MLflow's URI as the pods reach it; default: theirs.", envvar="MLFLOW_TRACKING_URI")
    ] = "",
    every: Annotated[str, typer.Option(help="Run it by this cron of six fields, seconds first; `off` ends that.")] = "",
    name: Annotated[str, typer.Option(help="Name of the recurring run; default: the loop's and 'training'.")] = "",
    namespace: Annotated[str, typer.Option(help="Your profile, where KFP has several users.")] = "",
    token_file: Annotated[Path | None, typer.Option(help="A file with a bearer token; default: the pod's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Run the training pipeline of a loop.yaml on a Kubeflow Pipelines server, once or by a cron."""
    if every and as_of:
        raise Refused("--as-of with --every: each run would train on the same past. Leave one of them out")
    if name and not every:
        raise Refused("--name names a recurring run: give --every too")
    from trimtab.cli import kfp

    server = kfp.Server(host, namespace, token_file)
    if every:
        kfp.schedule(file, server, every, json, tracking_uri, name)
    else:
        kfp.submit(file, server, as_of, json, tracking_uri)
