"""A loop that is deleted with `on-delete: remove`, whatever is wrong with its document or its world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from operator_product import LOOPS, T0, with_definition
from test_keeper import days

from trimtab.adapters.cluster import CONFIG_MAPS, Cluster
from trimtab.adapters.servers.collector_deployment import CollectorDeployment
from trimtab.adapters.workloads import DEPLOYMENTS, SERVICES
from trimtab.errors import TrimtabError
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import BareSettings
from trimtab.operator.keeper import Keeper
from trimtab.operator.metrics import Metrics
from trimtab.operator.settings import Settings
from trimtab.testing.kubernetes.server import KubernetesApi


@pytest.fixture
def api() -> Iterator[KubernetesApi]:
    with with_definition(KubernetesApi()) as api:
        yield api


def test_a_loop_whose_document_is_refused_can_be_removed_with_what_serves(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    made = _made_for("m", api, lived.cluster)
    other = _made_for("other", api, lived.cluster)
    change: dict[str, Any] = {"metadata": {"annotations": {"trimtab.dev/on-delete": "remove"}}}
    change["spec"] = {"data": {"source": {"path": "rows.csv", "encoding": "klingon"}}}
    api.request("PATCH", f"{LOOPS}/m", change, "application/merge-patch+json")
    lived.keeper = lived.successor()
    lived.keeper.step(lived.body(), T0)
    assert lived.keeper.leave(lived.body())
    assert [one() for one in made] == [None, None, None]
    assert None not in [one() for one in other]
    assert lived.turns().latest() is None


def test_a_loop_whose_world_cannot_be_made_can_be_removed(api: KubernetesApi) -> None:
    lived = days(api)
    lived.settle(T0)
    made = _made_for("m", api, lived.cluster)
    change = {"metadata": {"annotations": {"trimtab.dev/on-delete": "remove"}}}
    api.request("PATCH", f"{LOOPS}/m", change, "application/merge-patch+json")

    def nowhere(*_: Any) -> Any:
        raise TrimtabError("the rows are not there yet")

    keeper = Keeper(lived.cluster, nowhere, Settings(), Metrics())
    keeper.step(lived.body(), T0)
    assert keeper.leave(lived.body())
    assert [one() for one in made] == [None, None, None]


def test_what_a_repository_delivers_is_not_removed_by_the_operator(api: KubernetesApi) -> None:
    lived = days(api)
    made = _made_for("m", api, lived.cluster)
    change: dict[str, Any] = {"metadata": {"annotations": {"trimtab.dev/on-delete": "remove"}}}
    change["spec"] = {"release": {"delivery": "gitops"}}
    api.request("PATCH", f"{LOOPS}/m", change, "application/merge-patch+json")
    assert lived.keeper.leave(lived.body())
    assert None not in [one() for one in made]


def _made_for(loop: str, api: KubernetesApi, cluster: Cluster) -> list[Callable[[], Any]]:
    """A collector and a router's memory as the adapters make them; each as a look at what is left of it."""
    place = BareSettings(image="i:1", claim="disk", namespace="default", volume=Path("/v")).place(
        LoopObject("default", loop, "uid")
    )
    CollectorDeployment(cluster, place).ensure()
    api.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"{loop}-router"}})
    kinds = ((DEPLOYMENTS, "collector"), (SERVICES, "collector"), (CONFIG_MAPS, "router"))
    return [partial(cluster.get, kind, "default", f"{loop}-{role}") for kind, role in kinds]
