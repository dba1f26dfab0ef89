"""The contract of model servers over Deployments, and what people and operators do to them."""

import os
import signal
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bare_cluster_bench import DEPLOYMENTS, IMAGE, Bare

from trimtab.adapters.cluster import PODS as PODS_RESOURCE
from trimtab.adapters.servers.deployment import DeploymentServers
from trimtab.ports.servers import ServerRequest, ServerView
from trimtab.spec.serving import Serving
from trimtab.testing.kubernetes.widgets import until
from trimtab.testing.model_servers import ModelServersSuite, ready, request


class WatchedServers(DeploymentServers):
    """Views with process ids, as the suite wants them: the node knows the processes."""

    def __init__(self, bare: Bare) -> None:
        command = ("python", "-m", "trimtab.testing.fake_server")
        super().__init__(bare.cluster, bare.place, Serving(), command=command, drain=timedelta(0), deadline_seconds=20)
        self.bare = bare

    def ensure(self, wanted: Collection[ServerRequest]) -> Mapping[str, ServerView]:
        return {version: self._seen(view) for version, view in super().ensure(wanted).items()}

    def _seen(self, view: ServerView) -> ServerView:
        """Ready only as far as the pod says so too: a Deployment's status is a moment late."""
        if view.state != "ready":
            return view
        labels = f"trimtab.dev/version={view.version}"
        pods = self.bare.cluster.list(PODS_RESOURCE, "default", labels)
        told = [one for pod in pods for one in pod["status"]["containerStatuses"] if one["ready"]]
        if not told:
            return ServerView(view.version, "starting", restarts=view.restarts)
        return replace(view, pid=int(told[0]["containerID"].removeprefix("test://")))

    def close(self) -> None:
        self.remove()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    bare = Bare(tmp_path)
    yield bare
    bare.stack.close()
    assert not bare.node.troubles


@pytest.mark.local
@pytest.mark.slow
class TestDeploymentServers(ModelServersSuite):
    @pytest.fixture
    def servers(self, bare: Bare) -> WatchedServers:
        return WatchedServers(bare)

    def kill(self, servers: WatchedServers, view: ServerView) -> None:
        os.kill(view.pid, signal.SIGKILL)


def _drained(bare: Bare, seconds: float, routed: bool = False) -> DeploymentServers:
    now = datetime.now(UTC) + timedelta(seconds=seconds)
    command = ("python", "-m", "trimtab.testing.fake_server")
    return DeploymentServers(
        bare.cluster, bare.place, Serving(), routed=lambda _: routed, command=command, now=lambda: now
    )


@pytest.mark.local
def test_a_server_outlives_the_last_wish_for_it_until_no_router_knows_it(bare: Bare, tmp_path: Path) -> None:
    wanted = request(tmp_path, "1")
    ready(_drained(bare, 0), wanted)
    assert _drained(bare, 0).ensure([]) == {}
    _drained(bare, 30).ensure([])  # another operator; the time since when is the cluster's
    assert bare.api.objects(DEPLOYMENTS)
    _drained(bare, 70, routed=True).ensure([])
    assert bare.api.objects(DEPLOYMENTS)
    assert set(_drained(bare, 75).ensure([wanted])) == {"1"}  # wanted again: it begins anew
    _drained(bare, 80).ensure([])
    _drained(bare, 100).ensure([])
    assert bare.api.objects(DEPLOYMENTS)
    _drained(bare, 200).ensure([])
    assert not bare.api.objects(DEPLOYMENTS)
    assert not bare.api.objects("/api/v1/namespaces/default/services")


@pytest.mark.local
def test_what_people_scale_stays_scaled_and_what_they_break_is_mended(bare: Bare, tmp_path: Path) -> None:
    servers, wanted = _drained(bare, 0), request(tmp_path, "1")
    ready(servers, wanted)
    (found,) = bare.api.objects(DEPLOYMENTS)
    path, merge = f"{DEPLOYMENTS}/{found['metadata']['name']}", "application/merge-patch+json"
    bare.api.request("PATCH", path, {"spec": {"replicas": 2}}, merge)
    until(lambda: bare.api.request("GET", path)["status"]["readyReplicas"] == 2)
    for _ in range(2):
        servers.ensure([wanted])
        assert bare.api.request("GET", path)["spec"]["replicas"] == 2
    calls = len(bare.api.calls)
    servers.ensure([wanted])
    assert {call.verb for call in bare.api.calls[calls:]} == {"list"}
    broken = [{**found["spec"]["template"]["spec"]["containers"][0], "image": "someone:else"}]
    bare.api.request("PATCH", path, {"spec": {"template": {"spec": {"containers": broken}}}}, merge)
    servers.ensure([wanted])
    mended = bare.api.request("GET", path)["spec"]
    assert (mended["template"]["spec"]["containers"][0]["image"], mended["replicas"]) == (IMAGE, 2)
