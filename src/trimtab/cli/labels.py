"""`trimtab label`: labels out of a file, for predictions that were made before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from trimtab import wiring
from trimtab.cli.opening import opened

_AT_ONCE = 5000


def take(
    labels: Path,
    file: Path | None,
    home: Path | None,
    columns: tuple[str | None, str | None, str | None],
    as_json: bool,
) -> None:
    """Add the file's labels to the label log; `columns` are those of id, label and time, None for the usual names."""
    from trimtab.stages.labelfile import read

    found = opened(file, home)
    data = found.document.spec.data
    records = read(
        labels,
        id_column=columns[0] or data.id or "id",
        label_column=columns[1] or data.label.column,
        time_column=columns[2],
        now=datetime.now(UTC),
        numbers=found.document.spec.scope.problem == "regression",
        like=data.source,
    )
    log = wiring.label_writer(found.home.make())
    for start in range(0, len(records), _AT_ONCE):
        log.append(records[start : start + _AT_ONCE])
    log.close()
    told = {"labels": len(records), "ids": len({record["id"] for record in records})}
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        Console().print(
            f"took {told['labels']:,} labels of {told['ids']:,} predictions; `trimtab status` says how many are known",
            highlight=False,
            soft_wrap=True,
        )
