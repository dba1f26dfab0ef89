"""The `trimtab` command. Imports stay inside the commands: `trimtab --help` must be quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from trimtab import __version__
from trimtab.cli import cluster, monitor_command, pipeline, submit_command
from trimtab.errors import TrimtabError

app = typer.Typer(
    name="trimtab",
    help="Keeps machine-learning models on course: train, serve, release, watch and retrain from one loop.yaml.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
    epilog="Start with: trimtab init, trimtab validate, trimtab run, trimtab up. The document: docs/loop-yaml.md",
)
app.add_typer(
    pipeline.app,
    name="pipeline",
    help="Run and inspect compiled KFP pipelines on this machine.",
    rich_help_panel="Pipelines",
)
app.add_typer(
    cluster.app,
    name="cluster",
    help="Look at trimtab on a Kubernetes cluster, or remove it.",
    rich_help_panel="Cluster",
)

_LIFE, _WATCH, _STEER, _PIPE = "Life of a loop", "Look", "Steer", "Pipelines"

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="A loop.yaml or its folder; default: the nearest one upward.", show_default=False
    ),
]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Where state lives; default: .trimtab beside loop.yaml.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trimtab {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    _: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)] = False,
) -> None:
    pass


@app.command(rich_help_panel=_LIFE)
def init(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CSV]", help="Your data; default: the only CSV or Parquet file here.", show_default=False
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column to predict.", show_default=False)] = None,
    time: Annotated[
        str | None,
        typer.Option(help="The column that says when a row happened.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The loop's name.", show_default=False)] = None,
) -> None:
    """Write a loop.yaml for your data into this folder."""
    from trimtab.cli.init import write

    write(source, label, time, name, Path.cwd())


@app.command(rich_help_panel=_LIFE)
def validate(file: File = None, json: Json = False) -> None:
    """Check a loop.yaml: every problem with its line, what was found and what was expected."""
    from trimtab.cli.validate import validate_found

    validate_found(file, json)


@app.command(rich_help_panel=_LIFE)
def run(
    file: File = None,
    home: HomeOption = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="Train as if it were this day: nothing later is seen.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Train one version and judge it; the first good one becomes the champion."""
    from trimtab.cli.training import run_once

    run_once(file, home, as_of, json)


@app.command(rich_help_panel=_LIFE)
def up(
    file: File = None,
    home: HomeOption = None,
    port: Annotated[int | None, typer.Option(help="Listen here instead of serving.port.", show_default=False)] = None,
    every: Annotated[float, typer.Option(help="Seconds between turns.", min=0.2)] = 5.0,
) -> None:
    """Run the loop: serve, watch, retrain and release until Ctrl-C."""
    from trimtab.cli.live import up as live_up

    live_up(file, home, port, every)


@app.command(rich_help_panel=_LIFE)
def down(file: File = None, home: HomeOption = None) -> None:
    """Stop the loop that runs on this state folder."""
    from trimtab.cli.live import down as live_down

    live_down(file, home)


@app.command(rich_help_panel=_LIFE)
def replay(
    file: File = None,
    home: HomeOption = None,
    since: Annotated[str, typer.Option("--from", help="First month of traffic, as 1985-01; earlier rows train.")] = "",
    until: Annotated[str, typer.Option("--until", help="First month that is not replayed; default: the end.")] = "",
    turn_days: Annotated[int, typer.Option(help="Days of virtual time in a turn; 0 is a calendar month.", min=0)] = 0,
    mark: Annotated[str, typer.Option(help="Mark a day in the report: 1995-09='a new species'.")] = "",
    fresh: Annotated[bool, typer.Option(help="Forget what an earlier replay left in the state folder.")] = False,
    quiet: Annotated[bool, typer.Option(help="No live display, one line a month.")] = False,
    json: Json = False,
) -> None:
    """Live through historic data as traffic, in virtual time, and write a report."""
    from trimtab.cli.replaying import replay as live_through

    live_through(file, home, since, until, turn_days, mark, fresh, quiet, json)


@app.command(rich_help_panel=_LIFE)
def label(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="A CSV or Parquet file: an id and a label a row.")],
    id_: Annotated[str | None, typer.Option("--id", help="Its column of ids; default: data.id, else id.")] = None,
    column: Annotated[str | None, typer.Option("--label", help="Its column of labels; default: data.label.")] = None,
    time: Annotated[str | None, typer.Option(help="Its column of when each became known; default: now.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The loop.yaml.", show_default=False)] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Take labels from a file, for predictions that were made before; the same file twice does no harm."""
    from trimtab.cli.labels import take

    take(labels, file, home, (id_, column, time), json)


@app.command(rich_help_panel=_WATCH)
def status(file: File = None, home: HomeOption = None, json: Json = False) -> None:
    """How the loop stands: champion, release, quality, the last decision."""
    from trimtab.cli.status import status as show

    show(file, home, json)


@app.command(rich_help_panel=_WATCH)
def history(
    file: File = None,
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(help="How many decisions.", min=1)] = 50,
    json: Json = False,
) -> None:
    """Every decision with its sentence and evidence."""
    from trimtab.cli.show import history as show

    show(file, home, limit, json)


@app.command(rich_help_panel=_WATCH)
def reports(
    file: File = None,
    home: HomeOption = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the newest one in a browser.")] = False,
    json: Json = False,
) -> None:
    """The monitoring reports that were kept, newest first."""
    from trimtab.cli.show import reports as show

    show(file, home, open_, json)


@app.command(rich_help_panel=_WATCH)
def report(
    file: File = None,
    home: HomeOption = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Write the report of the last replay again, or say where it is."""
    from trimtab.cli.show import report as show

    show(file, home, open_)


@app.command(rich_help_panel=_STEER)
def promote(
    version: Annotated[
        str | None,
        typer.Argument(help="The version; default: the candidate of the release.", show_default=False),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The loop.yaml.", show_default=False)] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Give the candidate all requests now; a VERSION that was turned down is released from the start."""
    from trimtab.cli.steer import wish

    wish("promote", {"version": version} if version else {}, file, home, json)


@app.command(rich_help_panel=_STEER)
def rollback(file: File = None, home: HomeOption = None, json: Json = False) -> None:
    """End the release, or without one go back to the previous champion."""
    from trimtab.cli.steer import wish

    wish("rollback", {}, file, home, json)


@app.command(rich_help_panel=_STEER)
def retrain(
    file: File = None,
    home: HomeOption = None,
    why: Annotated[str, typer.Option(help="A note for the history.")] = "",
    json: Json = False,
) -> None:
    """Ask for a new training run."""
    from trimtab.cli.steer import wish

    wish("retrain", {"why": why} if why else {}, file, home, json)


@app.command("compile", rich_help_panel=_PIPE)
def compile_(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a compiled file is stale.")] = False,
) -> None:
    """Compile the pipelines to the YAML that KFP and `trimtab pipeline run` take."""
    from trimtab.cli.kfp import compile_pipelines

    compile_pipelines(check)


app.command(rich_help_panel=_PIPE)(submit_command.submit)
app.command(rich_help_panel=_PIPE)(monitor_command.monitor)


def main() -> None:
    """Entry point: a person's mistake is a sentence and an exit code, never a traceback."""
    try:
        app(standalone_mode=True)
    except TrimtabError as error:
        typer.echo(f"trimtab: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("trimtab: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
