"""Taking away what serves for a loop whose object is deleted with `trimtab.dev/on-delete: remove`.

By its world if it has one; else, as its document is refused or its world cannot be made, by the names and labels that
the adapters give to all they make. With gitops nothing is taken: what serves is in the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.adapters.cluster import CONFIG_MAPS, Cluster, ClusterError, Resource
from trimtab.adapters.kserve import INFERENCE_SERVICES
from trimtab.adapters.router.envoy_deployment import ROUTER
from trimtab.adapters.router.gateway_api import HTTP_ROUTES
from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.adapters.workloads import DEPLOYMENTS, LOOP, SERVICES, label, object_name
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.ports.router import Routes

_NOT_USED_HERE = (403, 404)  # the operator has no right to a kind, or the cluster does not know it


def remove_world(world: World) -> None:
    """First the door, then what is behind it, last the memory of it. Raises TrimtabError, and may be repeated."""
    world.router.apply(Routes())
    world.servers.ensure([])
    for part in (world.router, world.servers, world.collector):
        getattr(part, "remove", _nothing)()
    getattr(world.turns, "forget", _nothing)()


def remove_made(cluster: Cluster, about: LoopObject) -> None:
    """What any adapter made for the loop; raises ClusterError, and may be repeated. Runs go with the loop's object."""
    for kind in (HTTP_ROUTES, INFERENCE_SERVICES):
        try:
            _delete_all(cluster, kind, about)
        except ClusterError as error:
            if error.code not in _NOT_USED_HERE:
                raise
    for kind in (DEPLOYMENTS, SERVICES):
        _delete_all(cluster, kind, about)
    cluster.delete(CONFIG_MAPS, about.namespace, object_name(about.name, ROUTER))
    ConfigMapTurns(cluster, about.namespace, about.name).forget()


def delivered_by_git(body: Mapping[str, Any]) -> bool:
    """Whether the document, whatever else is wrong with it, says that a repository is what serves."""
    spec = body.get("spec")
    release = spec.get("release") if isinstance(spec, Mapping) else None
    return isinstance(release, Mapping) and release.get("delivery") == "gitops"


def _delete_all(cluster: Cluster, kind: Resource, about: LoopObject) -> None:
    for one in cluster.list(kind, about.namespace, f"{LOOP}={label(about.name)}"):
        cluster.delete(kind, about.namespace, one["metadata"]["name"])


def _nothing() -> None:
    """Of adapters that leave nothing behind."""
