"""`trimtab cluster doctor` and `trimtab cluster uninstall`."""

from __future__ import annotations

import dataclasses
import json as json_
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trimtab.adapters.cluster import Cluster
    from trimtab.cli.finding import Finding

app = typer.Typer(no_args_is_help=True)
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Where trimtab is, or shall be.")]
Kubeconfig = Annotated[
    str,
    typer.Option("--kubeconfig", help="Default: ~/.kube/config.", envvar="KUBECONFIG", show_default=False),
]
Context = Annotated[str, typer.Option("--context", help="A context of the kubeconfig; default: its current one.")]
_MARKS = {"ok": "[green]✓[/]", "absent": "[dim]·[/]", "unknown": "[yellow]?[/]", "broken": "[red]✗[/]"}


def connected(kubeconfig: str, context: str) -> Cluster:
    """The cluster that a person's kubeconfig names; raises TrimtabError."""
    from trimtab.adapters.cluster import Cluster

    default = Path.home() / ".kube/config"
    inside = not kubeconfig and not default.is_file() and "KUBERNETES_SERVICE_HOST" in os.environ
    return Cluster.connect(None if inside else kubeconfig or default, context=context)


@app.command()
def doctor(
    namespace: Namespace = "models",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Say what is there, what is missing or broken, and the command that mends it; exit 1 if anything is broken."""
    from rich.console import Console
    from rich.markup import escape

    from trimtab.cli.doctor import examine

    findings = examine(connected(kubeconfig, context), namespace)
    if json:
        typer.echo(json_.dumps([dataclasses.asdict(one) for one in findings], indent=1))
    else:
        console = Console()
        for one in findings:
            console.print(f"{_MARKS[one.state]} [bold]{one.part}[/]  {escape(one.sentence)}", highlight=False)
            if one.mend:
                console.print(f"  mend: {escape(one.mend)}", highlight=False, soft_wrap=True)
        console.print(_sum(findings))
    if any(one.state == "broken" for one in findings):
        raise typer.Exit(1)


def _sum(findings: list[Finding]) -> str:
    broken = [one.part for one in findings if one.state == "broken"]
    return f"\n{len(broken)} to mend: {', '.join(broken)}" if broken else "\nnothing to mend"


@app.command()
def uninstall(
    namespace: Namespace = "models",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Leave volumes with logs, labels and models.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove loops, what serves for them, the operator, its volumes and the definition; may be repeated."""
    from trimtab.cli.uninstall import plan, remove

    cluster = connected(kubeconfig, context)
    steps = plan(cluster, namespace, keep_data)
    if not steps:
        typer.echo(f"nothing of trimtab is in namespace {namespace}")
        return
    for step in steps:
        typer.echo(f"  {step}")
    if not yes:
        typer.confirm("Remove all of this?", abort=True)
    remove(cluster, namespace, keep_data, typer.echo)
    typer.echo("removed")
