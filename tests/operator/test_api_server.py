"""What the API server for tests does beyond the contract: faults, expiry, kubectl, kopf."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException

from trimtab.testing.kubernetes.faults import Fault
from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.widgets import WIDGETS, Widgets, refused, until


@pytest.fixture
def server() -> Iterator[KubernetesApi]:
    with KubernetesApi(bookmark_seconds=0.1) as server:
        server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", WIDGETS)
        yield server


@pytest.fixture
def api(server: KubernetesApi) -> Iterator[client.ApiClient]:
    with client.ApiClient(client.Configuration(host=server.url)) as api:
        api.configuration.retries = False
        yield api


@pytest.fixture
def widgets(api: client.ApiClient) -> Widgets:
    return Widgets(api, "default")


def test_a_watch_from_a_forgotten_version_is_told_that_it_expired(server: KubernetesApi, widgets: Widgets) -> None:
    widgets.make("a")
    since = widgets.all()["metadata"]["resourceVersion"]
    widgets.patch("a", {"spec": {"size": 2}})
    server.expire()
    with pytest.raises(ApiException) as caught:
        list(watch.Watch().stream(widgets.all, resource_version=since, timeout_seconds=5))
    assert caught.value.status == 410


def test_a_list_whose_rest_is_forgotten_expires(server: KubernetesApi, widgets: Widgets) -> None:
    for name in "abc":
        widgets.make(name)
    token = widgets.all(limit=1)["metadata"]["continue"]
    server.expire()
    assert refused(lambda: widgets.all(limit=1, _continue=token)).status == 410


def test_bookmarks_move_a_quiet_watch_on(server: KubernetesApi, widgets: Widgets) -> None:
    since = widgets.all()["metadata"]["resourceVersion"]
    server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    query = f"watch=1&resourceVersion={since}&allowWatchBookmarks=true&timeoutSeconds=1"
    url = f"{server.url}/apis/test.trimtab.dev/v1/namespaces/default/widgets?{query}"
    text = urllib3.PoolManager().request("GET", url).data
    events = [json.loads(line) for line in text.splitlines()]
    assert {one["type"] for one in events} == {"BOOKMARK"}
    assert int(events[-1]["object"]["metadata"]["resourceVersion"]) > int(since)


def test_a_watch_by_label_sees_an_object_come_and_go_with_its_label(widgets: Widgets) -> None:
    widgets.make("a")
    since = widgets.all()["metadata"]["resourceVersion"]
    widgets.patch("a", {"metadata": {"labels": {"x": "y"}}})
    widgets.patch("a", {"spec": {"size": 3}})
    widgets.patch("a", {"metadata": {"labels": {"x": None}}})
    stream = watch.Watch().stream(widgets.all, resource_version=since, label_selector="x=y", timeout_seconds=1)
    assert [event["type"] for event in stream] == ["ADDED", "MODIFIED", "DELETED"]


@pytest.mark.parametrize("code", [409, 429, 500])
def test_chosen_calls_are_answered_with_an_error(server: KubernetesApi, widgets: Widgets, code: int) -> None:
    fault = server.faults.add(Fault(lambda call: call.verb == "patch", code=code, times=1))
    widgets.make("a")
    assert refused(lambda: widgets.patch("a", {"spec": {"size": 2}})).status == code
    assert widgets.patch("a", {"spec": {"size": 2}})["spec"]["size"] == 2
    assert fault.happened == 1


@pytest.mark.parametrize(("kind", "took_effect"), [("abort before", False), ("abort after", True)])
def test_a_connection_can_be_cut_before_or_after_the_call(
    server: KubernetesApi, widgets: Widgets, kind: Any, took_effect: bool
) -> None:
    server.faults.add(Fault(lambda call: call.verb == "create", kind, times=1))
    with pytest.raises(urllib3.exceptions.HTTPError):
        widgets.make("a")
    assert bool(widgets.all()["items"]) == took_effect


def test_a_call_that_hangs_does_not_hold_up_others(server: KubernetesApi, widgets: Widgets) -> None:
    fault = server.faults.add(Fault(lambda call: call.name == "a", "hang"))
    widgets.make("a")
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(widgets.get("a")))
    thread.start()
    until(lambda: fault.happened == 1)
    widgets.make("b")
    assert got == []
    fault.release()
    thread.join(10)
    assert got[0]["metadata"]["name"] == "a"


@pytest.fixture
def kubectl(server: KubernetesApi, tmp_path: Path) -> Any:
    binary = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
    if not binary:
        pytest.skip("no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
    config = server.kubeconfig(tmp_path / "kubeconfig")

    def run(*arguments: str, stdin: Any = None, fails: bool = False) -> str:
        done = subprocess.run(
            [binary, *arguments],
            input=json.dumps(stdin) if stdin else None,
            env={"KUBECONFIG": str(config), "HOME": str(tmp_path), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout + done.stderr

    return run


WIDGET = {
    "apiVersion": "test.trimtab.dev/v1",
    "kind": "Widget",
    "metadata": {"name": "a"},
    "spec": {"size": 7},
}


def test_kubectl_applies_and_shows_the_columns_of_the_definition(kubectl: Any) -> None:
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=WIDGET)
    lines = kubectl("get", "widgets").splitlines()
    assert lines[0].split() == ["NAME", "SIZE"]
    assert lines[1].split() == ["a", "7"]
    assert kubectl("get", "widget", "a", "-o", "jsonpath={.spec.colour}") == "red"


def test_kubectl_is_told_of_conflicts_unknown_fields_and_wrong_values(kubectl: Any) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=WIDGET)
    changed = {**WIDGET, "spec": {"size": 8}}
    said = kubectl("apply", "--server-side", "--field-manager=me", "-f", "-", stdin=changed, fails=True)
    assert ".spec.size" in said
    kubectl("apply", "--server-side", "--field-manager=me", "--force-conflicts", "-f", "-", stdin=changed)
    said = kubectl("apply", "--server-side", "-f", "-", stdin={**WIDGET, "spec": {"size": 1, "sise": 2}}, fails=True)
    assert 'unknown field "spec.sise"' in said
    assert "spec.size" in kubectl("create", "-f", "-", stdin={**WIDGET, "spec": {"size": 0}}, fails=True)


def test_kubectl_applies_plainly_labels_and_deletes(kubectl: Any) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    kubectl("apply", "-f", "-", stdin=made)
    kubectl("apply", "-f", "-", stdin={**made, "data": {"b": "2"}})
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data}") == '{"b":"2"}'
    kubectl("label", "configmap", "c", "x=y")
    assert "c" in kubectl("get", "configmaps", "-l", "x=y", "-o", "name")
    kubectl("delete", "configmap", "c")
    assert "NotFound" in kubectl("get", "configmap", "c", fails=True)


def test_kopf_sees_objects_and_changes_and_holds_what_is_deleted(
    server: KubernetesApi, widgets: Widgets, tmp_path: Path
) -> None:
    kopf = pytest.importorskip("kopf", reason="kopf is not installed")
    registry, seen, ready = kopf.OperatorRegistry(), [], threading.Event()

    @kopf.on.event("test.trimtab.dev", "v1", "widgets", registry=registry)
    def changed(spec: Any, **_: Any) -> None:
        seen.append(spec.get("size"))

    @kopf.on.delete("test.trimtab.dev", "v1", "widgets", registry=registry)
    def gone(name: str, **_: Any) -> None:
        seen.append(f"{name} deleted")

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> Any:
        return kopf.ConnectionInfo(server=server.url)

    stop = threading.Event()

    async def operate() -> None:
        flag = asyncio.Event()
        task = asyncio.create_task(
            kopf.operator(registry=registry, standalone=True, namespaces=["default"], ready_flag=flag, stop_flag=stop)
        )
        await flag.wait()
        ready.set()
        await task

    thread = threading.Thread(target=lambda: asyncio.run(operate()))
    widgets.make("a")
    thread.start()
    try:
        assert ready.wait(20)
        until(lambda: bool(widgets.get("a")["metadata"].get("finalizers")))
        widgets.patch("a", {"spec": {"size": 5}})
        until(lambda: 5 in seen)
        server.expire()
        server.cut()
        widgets.patch("a", {"spec": {"size": 6}})
        until(lambda: 6 in seen)
        widgets.delete("a")
        until(lambda: not widgets.all()["items"])
        assert "a deleted" in seen
    finally:
        stop.set()
        thread.join(20)
