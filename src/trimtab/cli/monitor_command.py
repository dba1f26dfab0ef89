"""The options of `trimtab monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_File = Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A loop.yaml or its folder.", show_default=False)]


def monitor(
    bundle: Annotated[Path, typer.Option(help="Folder of the champion's bundle.")],
    digest: Annotated[str, typer.Option(help="The digest that the registry vouches for.")],
    predictions: Annotated[Path, typer.Option(help="Folder of the prediction log.")],
    labels: Annotated[Path, typer.Option(help="Folder of the label log.")],
    file: _File = None,
    home: Annotated[Path | None, typer.Option(help="Where reports are kept; default: .trimtab beside FILE.")] = None,
    version: Annotated[str, typer.Option(help="The champion's version; default: answers of all versions.")] = "",
    now: Annotated[str, typer.Option(help="The window's end, ISO 8601; default: now.")] = "",
    failures: Annotated[int, typer.Option(help="Requests of the window without an answer.", min=0)] = 0,
    keep: Annotated[int, typer.Option(help="How many reports are kept.", min=1)] = 100,
    submit: Annotated[str, typer.Option(help="To retrain, start a run at this KFP API.")] = "",
    wish: Annotated[str, typer.Option(help="To retrain, ask the operator of NAMESPACE/LOOP.")] = "",
    webhook: Annotated[str, typer.Option(help="To retrain, POST the verdict to this URL.")] = "",
    tracking_uri: Annotated[str, typer.Option(help="MLflow's URI for the KFP run.", envvar="MLFLOW_TRACKING_URI")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Judge a window of traffic once, where no loop runs, and start a retraining if it calls for one."""
    from trimtab.cli.monitoring import Window
    from trimtab.cli.monitoring import monitor as look
    from trimtab.cli.triggers import Wanted

    window = Window(bundle, digest, predictions, labels, version, now, failures)
    look(file, home, window, Wanted(submit, wish, webhook, tracking_uri), keep, json)
