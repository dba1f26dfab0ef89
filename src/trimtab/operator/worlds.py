"""The world of a loop on a cluster: Jobs, Deployments, our Envoy, one volume that all share; or what else is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.registry.mirror import Publisher, publisher_from_environment
from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.decisions.state import LoopState
from trimtab.errors import Refused, TrimtabError
from trimtab.loop.home import Home
from trimtab.loop.world import World
from trimtab.operator import following
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import BareSettings, from_environment, secret_entry
from trimtab.operator.following import with_gitops
from trimtab.operator.platforms import Platform, pipeline_runner, platform_from_environment, serving_parts
from trimtab.ports.runs import RunStore
from trimtab.spec.document import ModelLoop

if TYPE_CHECKING:
    from trimtab.adapters.runs.files import LedgerFiles
    from trimtab.adapters.workloads import Place


def worlds_from_environment(cluster: Cluster) -> Callable[[ModelLoop, LoopObject], World]:
    """A factory of worlds as the operator's environment says; raises Refused."""
    worlds = ClusterWorlds(cluster, from_environment(), platform_from_environment(), publisher_from_environment())
    return with_gitops(worlds, cluster, following.from_environment())


class ClusterWorlds:
    """Makes the world of each loop of the operator's own namespace: a claim reaches no other one.

    Unless `settings.shared` vouches that each namespace has a claim of that name on the same storage.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: BareSettings,
        platform: Platform | None = None,
        publisher: Publisher | None = None,
    ) -> None:
        """`platform` says which parts are not the bare cluster's own; `publisher` shows versions elsewhere too."""
        self._cluster, self._settings, self._platform = cluster, settings, platform or Platform()
        self._publisher = publisher
        self._elsewhere = self._platform.pipelines == "kubeflow"  # pipelines see no folder of the volume
        if self._elsewhere:
            refuse_unreachable(settings)
        self._runs: RunStore | None = None
        self._ledgers: LedgerFiles | None = None

    def __call__(self, document: ModelLoop, about: LoopObject) -> World:
        """The loop's world; raises TrimtabError for a loop that cannot run here, saying why and what to do."""
        from trimtab.adapters.pipelines.job import Bounds, JobRunner
        from trimtab.adapters.records.places import record_log
        from trimtab.adapters.records.schema import LABELS, PREDICTIONS
        from trimtab.adapters.registry.mlflow import MlflowRegistry
        from trimtab.adapters.router.envoy_deployment import EnvoyDeployment
        from trimtab.adapters.servers.collector_deployment import CollectorDeployment
        from trimtab.adapters.servers.deployment import DeploymentServers
        from trimtab.wiring import document_text, pipelines_folder, shown

        cluster, settings = self._cluster, self._settings
        if about.namespace != settings.namespace and not settings.shared:
            raise Refused(
                f"the loop is in namespace {about.namespace}, and the volume {settings.claim} that all of its pods "
                f"must share is in {settings.namespace}. Move the loop there, install the chart in its namespace, or "
                "set volume.shared if both namespaces have a claim of that name on the same storage"
            )
        place, records = settings.place(about), settings.records(about)
        home = Home(place.home).make()
        turns = ConfigMapTurns(cluster, about.namespace, about.name)
        refuse_source(document, place, lambda: _has_champion(turns), self._elsewhere)
        runs = self._store(home)
        tracking = settings.tracking_uri or home.tracking_uri
        token = [secret_entry("TRIMTAB_FEEDBACK_TOKEN", settings.feedback_secret)] if settings.feedback_secret else []
        servers, router = serving_parts(cluster, document, place, about, self._platform)
        envoy = EnvoyDeployment(cluster, place, document.spec.serving) if router is None else None
        bounds = Bounds(seconds=settings.job_seconds, start_seconds=settings.start_seconds)
        world = World(
            turns=turns,
            runs=runs,
            runner=pipeline_runner(about, self._platform, tracking) or JobRunner(cluster, place, runs, bounds),
            servers=servers
            or DeploymentServers(
                cluster,
                place,
                document.spec.serving,
                routed=envoy.routed if envoy is not None else lambda _: False,
                drain=settings.drain,
                deadline_seconds=settings.server_seconds,
            ),
            router=router or cast(EnvoyDeployment, envoy),
            collector=CollectorDeployment(
                cluster,
                place,
                numbers=document.spec.scope.problem == "regression",
                payloads=self._platform.payload_logger,
                environment=tuple(token),
            ),
            registry=MlflowRegistry(tracking, home.artifacts),
            predictions=record_log(home.predictions, PREDICTIONS, records),
            labels=record_log(home.labels, LABELS, records),
            training_pipeline=pipelines_folder() / "training-pipeline.yaml",
            monitoring_pipeline=pipelines_folder() / "monitoring-pipeline.yaml",
            predictions_folder=f"{records}/{home.predictions.name}" if self._elsewhere else home.predictions,
            labels_folder=f"{records}/{home.labels.name}" if self._elsewhere else home.labels,
            tracking_uri=tracking,
            artifact_root=settings.artifact_root or ("" if self._elsewhere else home.artifacts),
            document_text=document_text(document, place.home),
            bundles_by_uri=self._elsewhere,
        )
        return shown(world, about.name, self._publisher)

    def _store(self, home: Home) -> RunStore:
        """One for all loops of a database, which holds connections; of files, one a loop, some are open at a time."""
        from trimtab.adapters.runs.files import LedgerFiles
        from trimtab.adapters.runs.sql import SqlRuns
        from trimtab.adapters.sql import ledger_engine

        if not self._settings.ledger_url:
            self._ledgers = self._ledgers or LedgerFiles()
            return self._ledgers.runs(home.ledger)
        if self._runs is None:
            self._runs = SqlRuns(ledger_engine(self._settings.ledger_url))
        return self._runs


def refuse_unreachable(settings: BareSettings) -> None:
    """Raise Refused if the pods of Kubeflow Pipelines could not reach what they read and write."""
    wanted = {
        "TRIMTAB_TRACKING_URI (stores.trackingUri)": (settings.tracking_uri, "the URL of an MLflow server"),
        "TRIMTAB_RECORD_STORE (stores.records)": (
            settings.record_store,
            "where the logs are, such as s3://bucket/logs",
        ),
    }
    missing = [f"{name}, {what}" for name, (value, what) in wanted.items() if not value or value.startswith("sqlite:")]
    if missing:
        raise Refused(
            "with pipelines on Kubeflow Pipelines, whose pods do not see the operator's volume, the operator's "
            f"environment lacks {'; and '.join(missing)}"
        )


def refuse_source(document: ModelLoop, place: Place, served: Callable[[], bool], elsewhere: bool = False) -> None:
    """Raise TrimtabError unless the rows can be had: files must lie in the loop's own folder of the volume.

    Files that are missing stop nothing that is `served` already. `elsewhere`: pipelines do not see the volume.
    """
    given = document.spec.data.source.path
    if not given or "://" in given:
        return
    if elsewhere:
        raise Refused(
            f"data.source.path is {given}, a file, and pipelines run on Kubeflow Pipelines, whose pods do not see the "
            "operator's volume. Give an s3:// URI, or a query"
        )
    path = Path(given)
    if ".." in path.parts or (path.is_absolute() and place.home not in path.parents):
        raise Refused(
            f"data.source.path is {given}, and pods of this loop see nothing but its folder of the volume "
            f"({place.home}). Give a path relative to that folder, an s3:// URI, or a query"
        )
    inside = path.relative_to(place.home) if path.is_absolute() else path
    if any(place.home.glob(str(inside))) or served():
        return
    raise TrimtabError(
        f"the rows are not there yet: data.source.path is {given}, which is {place.home / inside} on the volume "
        f"{place.claim}. Copy them there: kubectl -n {place.namespace} cp {inside.name} OPERATOR-POD:"
        f"{place.home / inside}"
    )


def _has_champion(turns: ConfigMapTurns) -> bool:
    last = turns.latest()
    return last is not None and LoopState.from_json(last.state).champion is not None
