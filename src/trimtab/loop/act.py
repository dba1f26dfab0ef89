"""Making the world what the state says: servers, routes, runs, aliases. Every step may be repeated without harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from trimtab.decisions.state import LoopState, routes_of, versions_of
from trimtab.errors import TrimtabError
from trimtab.loop.world import World
from trimtab.ports.pipelines import RunRequest
from trimtab.ports.registry import RegisteredVersion
from trimtab.ports.router import Routes, Target
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.document import ModelLoop


class Hands:
    """Acts on one loop's world."""

    def __init__(self, document: ModelLoop, world: World) -> None:
        self._document = document
        self._world = world
        self._registered: dict[str, RegisteredVersion] = {}
        self._aliases: dict[str, str | None] = {}

    def registered(self, version: str) -> RegisteredVersion:
        """What the registry says of the version; versions never change, so each is asked for once."""
        if version not in self._registered:
            self._registered[version] = self._world.registry.version(self._document.metadata.name, version)
        return self._registered[version]

    def serve(self, state: LoopState) -> Mapping[str, ServerView]:
        """Servers that the state wants run, and the router sends to those of them that are ready."""
        keep_previous = self._document.spec.release.strategy == "blue-green"
        requests = []
        for version in versions_of(state, keep_previous):
            found = self.registered(version)
            requests.append(ServerRequest(version, found.bundle, found.digest, found.uri))
        views = self._world.servers.ensure(requests)
        wanted = routes_of(state)
        stable, candidate = _target(views, wanted.stable), _target(views, wanted.candidate)
        self._world.router.apply(
            Routes(
                stable=stable,
                candidate=candidate,
                candidate_percent=wanted.candidate_percent if candidate else 0,
                mirror_percent=wanted.mirror_percent if candidate else 0,
                feedback=self._world.collector.ensure(),
            )
        )
        return views

    def pursue(self, state: LoopState) -> None:
        """Start (or take up again) the runs that the state wants, and let the registry show what serves."""
        if state.training is not None:
            self._run(state.training.run_key, self._world.training_pipeline, self._training(state))
        if state.monitoring is not None and state.champion is not None:
            self._run(state.monitoring.key, self._world.monitoring_pipeline, self._monitoring(state))
        for alias, version in (
            ("champion", state.champion),
            ("challenger", state.release.candidate if state.release else None),
        ):
            if state.champion is None and alias not in self._aliases:
                continue  # nothing was ever promoted, so no alias can be left over
            if alias not in self._aliases or self._aliases[alias] != version:
                self._world.registry.set_alias(self._document.metadata.name, alias, version)
                self._aliases[alias] = version

    def _run(self, key: str, pipeline: Any, parameters: Callable[[], Mapping[str, Any]]) -> None:
        view = self._world.runner.look(key)
        if view is None or view.state == "INTERRUPTED":
            self._world.runner.start(RunRequest(key, str(pipeline), parameters()))

    def _place(self, found: RegisteredVersion) -> str:
        """The bundle as pipelines find it; raises TrimtabError for one that they cannot."""
        if not self._world.bundles_by_uri:
            return str(found.bundle)
        if not found.uri or found.uri.startswith("file:"):
            raise TrimtabError(
                f"the bundle of version {found.version} is at {found.bundle}, where pipelines elsewhere do not find "
                "it: keep artifacts in an object store or in the MLflow server"
            )
        return found.uri

    def _training(self, state: LoopState) -> Callable[[], Mapping[str, Any]]:
        def parameters() -> Mapping[str, Any]:
            champion = self.registered(state.champion) if state.champion else None
            return {
                "loop": self._world.document_text,
                "as_of": _stamp(state.training.started if state.training else None),
                "predictions": str(self._world.predictions_folder),
                "labels": str(self._world.labels_folder),
                "champion": self._place(champion) if champion else "",
                "champion_digest": champion.digest if champion else "",
                "tracking_uri": self._world.tracking_uri,
                "artifact_root": str(self._world.artifact_root),
            }

        return parameters

    def _monitoring(self, state: LoopState) -> Callable[[], Mapping[str, Any]]:
        def parameters() -> Mapping[str, Any]:
            champion = self.registered(state.champion or "")
            return {
                "loop": self._world.document_text,
                "now": _stamp(state.monitoring.started if state.monitoring else None),
                "predictions": str(self._world.predictions_folder),
                "labels": str(self._world.labels_folder),
                "bundle": self._place(champion),
                "digest": champion.digest,
                "version": champion.version,
                "failures": state.monitoring.failures if state.monitoring else 0,
                "tracking_uri": self._world.tracking_uri,
            }

        return parameters


def _target(views: Mapping[str, ServerView], version: str | None) -> Target | None:
    view = views.get(version) if version is not None else None
    if view is None or view.state != "ready":
        return None
    return Target(view.version, view.address, view.grpc_address)


def _stamp(time: datetime | None) -> str:
    return time.isoformat() if time is not None else ""
