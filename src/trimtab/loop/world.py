"""Everything outside that a loop touches, as ports. `wiring` fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trimtab.ports.delivery import Delivery
from trimtab.ports.pipelines import PipelineRunner
from trimtab.ports.records import RecordReader
from trimtab.ports.registry import Registry
from trimtab.ports.router import Router
from trimtab.ports.runs import RunStore
from trimtab.ports.servers import ModelServers
from trimtab.ports.service import Service
from trimtab.ports.turns import TurnStore, WishStore


class Turns(TurnStore, WishStore, Protocol):
    """A store of both turns and wishes."""


@dataclass(frozen=True)
class World:
    """The adapters of one loop on one machine or cluster, and what its pipelines are told of it.

    `document_text` is the document as pipelines take it, its paths such that they mean the same there.
    """

    turns: Turns
    runs: RunStore
    runner: PipelineRunner
    servers: ModelServers
    router: Router
    collector: Service
    registry: Registry
    predictions: RecordReader
    labels: RecordReader
    training_pipeline: Path
    monitoring_pipeline: Path
    predictions_folder: Path | str  # or an s3:// URI
    labels_folder: Path | str
    tracking_uri: str
    artifact_root: Path | str  # or a URI; "" is the MLflow server's own place
    document_text: str
    bundles_by_uri: bool = False  # pipelines see no folder of this machine
    delivery: Delivery | None = None  # where releases are handed over, if it is not the loop that changes what serves
    remark: Callable[[], str] = str  # what a person should know of a part that holds up no turn; "" is nothing

    def close(self) -> None:
        """Stop all that was started: first the door, then what is behind it, last the log writer."""
        for part in (self.router, self.servers, self.runner, self.collector):
            part.close()
