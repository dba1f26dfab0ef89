"""`trimtab pipeline`: run and inspect compiled KFP pipelines on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Where runs live; default: .trimtab beside the nearest loop.yaml, else in this folder.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.command()
def run(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="The YAML that kfp's compiler wrote.", show_default=False),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter; JSON for lists and dicts."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(help="Tasks at once; default: the processors, at least 4.", min=1, show_default=False),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every task, whatever ran before.")] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Take up an earlier run: only what did not finish.", show_default=False),
    ] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Run a compiled pipeline. Exit code 0: succeeded, 1: failed, 2: refused, 130: interrupted."""
    from trimtab.cli.pipeline_run import Wanted, run_here

    raise typer.Exit(run_here(Wanted(file, tuple(parameter or ()), jobs, not no_cache, resume, home, json)))


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many runs.", min=1)] = 20,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """The newest runs."""
    from trimtab.cli.pipeline_show import list_runs

    list_runs(limit, home, json)


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """One run with its tasks: states, times, inputs, outputs, why they ended."""
    from trimtab.cli.pipeline_show import show_run

    show_run(run, home, json)


@app.command()
def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")],
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="Path of a task; default: all.", show_default=False)
    ] = None,
    home: HomeOption = None,
) -> None:
    """What the tasks of a run wrote."""
    from trimtab.cli.pipeline_show import print_logs

    print_logs(run, task, home)
