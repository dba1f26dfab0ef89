"""The world of a loop with `delivery: gitops`: what another world is, but nothing in it changes what serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.adapters.cluster import Cluster
from trimtab.errors import Refused
from trimtab.loop.world import World
from trimtab.operator.accepting import LoopObject
from trimtab.spec.document import ModelLoop

if TYPE_CHECKING:
    from trimtab.adapters.delivery.requests import Requests
    from trimtab.adapters.git import Credentials
    from trimtab.ports.delivery import Delivery, Served
    from trimtab.spec.release import GitOps

WorldFactory = Callable[[ModelLoop, LoopObject], World]


@dataclass(frozen=True)
class FollowingSettings:
    """`secrets`: a folder with a folder a secret, as Secrets are mounted. `cache`: repositories, which may be lost.

    Versions are below `root`, which pods of the cluster know as `storage_uri`: s3://BUCKET/PATH or pvc://CLAIM.
    """

    secrets: Path = Path("/etc/trimtab/git")
    cache: Path = Path("/tmp/trimtab-git")  # noqa: S108 - the pod's own
    root: Path = Path("/var/lib/trimtab")
    storage_uri: str = ""
    prometheus: str = ""
    source: str = "servers"


def from_environment(environment: Mapping[str, str] | None = None) -> FollowingSettings:
    """Settings of the pod."""
    found, default = os.environ if environment is None else environment, FollowingSettings()
    claim = found.get("TRIMTAB_CLAIM", "")
    return FollowingSettings(
        Path(found.get("TRIMTAB_GIT_SECRETS") or default.secrets),
        Path(found.get("TRIMTAB_GIT_CACHE") or default.cache),
        Path(found.get("TRIMTAB_VOLUME") or default.root),
        found.get("TRIMTAB_STORAGE_URI") or (f"pvc://{claim}" if claim else ""),
        found.get("TRIMTAB_PROMETHEUS_URL", ""),
        found.get("TRIMTAB_METRICS") or default.source,
    )


def with_gitops(worlds: WorldFactory, cluster: Cluster, settings: FollowingSettings) -> WorldFactory:
    """`worlds`, but a loop that delivers by gitops gets servers and a router that only look."""

    def made(document: ModelLoop, about: LoopObject) -> World:
        world = worlds(document, about)
        where = document.spec.release.gitops
        if document.spec.release.delivery != "gitops" or where is None:
            return world
        return _following(world, document, about, where, cluster, settings)

    return made


def _following(
    world: World,
    document: ModelLoop,
    about: LoopObject,
    where: GitOps,
    cluster: Cluster,
    settings: FollowingSettings,
) -> World:
    from trimtab.adapters.router.following import FollowingRouter
    from trimtab.adapters.router.metric_sources import SOURCES
    from trimtab.adapters.router.prometheus import Evidence, Prometheus
    from trimtab.adapters.servers.following import FollowingServers

    source = SOURCES.get(settings.source)
    if source is None:
        raise Refused(f"TRIMTAB_METRICS must be one of {', '.join(SOURCES)}, found {settings.source!r}")
    evidence = Evidence(Prometheus(settings.prometheus), source, about.namespace) if settings.prometheus else None
    return replace(
        world,
        servers=FollowingServers(cluster, about.namespace, about.name),
        router=FollowingRouter(about.name, f"{about.name}.{about.namespace}.svc:80", evidence),
        delivery=delivery(document, about, where, settings),
    )


def delivery(document: ModelLoop, about: LoopObject, where: GitOps, settings: FollowingSettings) -> Delivery:
    """The loop's repository; raises Refused for a secret that is not there or is for another address."""
    from trimtab.adapters.delivery.github import GitHub
    from trimtab.adapters.delivery.gitlab import GitLab
    from trimtab.adapters.delivery.gitops import GitDelivery
    from trimtab.adapters.pod_storage import storage_uri

    if not settings.storage_uri:
        raise Refused(
            "with gitops the cluster must find the versions by itself: set the operator's TRIMTAB_STORAGE_URI to what "
            "pods call the folder of the versions, such as s3://models or pvc://CLAIM"
        )
    given = credentials(where, settings)

    def uri(served: Served) -> str:
        return storage_uri(served.version, served.bundle, served.uri, settings.root, settings.storage_uri)

    def token() -> str:
        return credentials(where, settings).password  # read again each time, for secrets are renewed

    requests: Requests | None = None
    if where.provider == "github":
        requests = GitHub(where.repository, where.branch, token)
    elif where.provider == "gitlab":
        requests = GitLab(where.repository, where.branch, token)
    folder = settings.cache / about.namespace / about.name
    return GitDelivery(folder, document.metadata.name, where, given, uri, requests)


def credentials(where: GitOps, settings: FollowingSettings) -> Credentials:
    """What the document's `secret` names."""
    from trimtab.adapters.git import Credentials

    if not where.secret:
        return Credentials()
    folder = settings.secrets / where.secret
    if not folder.is_dir():
        raise Refused(
            f"release.gitops.secret is {where.secret}, and the operator has no such secret ({folder}): mount one there"
        )
    found = Credentials.read(folder)
    found.check(where.repository)
    return found
