"""Tests on a real cluster, opt-in: `pytest -m cluster tests/cluster` with KUBECONFIG set. Safe by default:

- nothing runs on a context that is not `kind-*`, unless TRIMTAB_CLUSTER_TESTS_MAY_USE_CONTEXT names it;
- each test has a namespace of its own, under Pod Security `restricted`, which is deleted afterwards;
- the definition of ModelLoop is this checkout's while they run, and afterwards what it was before: away, or as it was.

Tiers, each skipped with its reason where the cluster cannot do it: API only (any API server), controllers (Deployments
get pods), node (pods run; wants the images of `make images` on a node, or TRIMTAB_IMAGE and TRIMTAB_SERVER_IMAGE).
The API tier runs against the API server for tests in every test run: tests/operator/test_cluster_suite.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator

import pytest
from real_cluster import KUBECTL, Json, Kubectl, ready_nodes

from trimtab.spec import crd

ALLOW = "TRIMTAB_CLUSTER_TESTS_MAY_USE_CONTEXT"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/cluster" in item.path.as_posix():
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def context() -> str:
    """A context that may be used and answers."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no KUBECONFIG: set it to a cluster for tests")
    try:
        named = subprocess.run(
            [KUBECTL, "config", "current-context"], capture_output=True, text=True, timeout=20, check=False
        )
    except FileNotFoundError:
        pytest.skip("no kubectl on PATH")
    name = named.stdout.strip()
    if not name.startswith("kind-") and os.environ.get(ALLOW) != name:
        pytest.skip(f"context {name!r} is neither kind-* nor allowed by {ALLOW}={name}")
    ready = Kubectl(name).run("get", "--raw", "/readyz", seconds=20)
    if ready.returncode:
        pytest.skip(f"the cluster of context {name} does not answer: {ready.stderr.strip()}")
    return name


@pytest.fixture(scope="session")
def definition(context: str) -> Iterator[None]:
    """The cluster knows ModelLoop as this checkout does."""
    kubectl = Kubectl(context)
    found = kubectl.run("get", "crd", crd.NAME, "-o", "json")
    before: Json | None = json.loads(found.stdout) if found.returncode == 0 else None
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=crd.definition())
    kubectl("wait", "--for=condition=Established", f"crd/{crd.NAME}", "--timeout=30s")
    yield
    if before is None:
        kubectl("delete", "crd", crd.NAME, "--wait=false")
    else:
        meta = {key: one for key, one in before["metadata"].items() if key in ("name", "labels", "annotations")}
        kubectl("replace", "-f", "-", given={**before, "metadata": meta, "status": None})


@pytest.fixture
def kubectl(context: str, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own; if the test failed, its objects, events and logs are printed."""
    name = f"trimtab-test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    everything = Kubectl(context)
    everything(
        "create",
        "-f",
        "-",
        given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    found = Kubectl(context, name)
    yield found
    if getattr(request.node, "failed", False):
        for words in (
            ("get", "all,modelloops"),
            ("describe", "modelloops"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("describe", "pods"),
        ):
            print(found.run(*words).stdout[-6000:])
        for pod in json.loads(found.run("get", "pods", "-o", "json").stdout or '{"items": []}')["items"]:
            print(found.run("logs", pod["metadata"]["name"], "--all-containers", "--tail=60").stdout)
    for loop in json.loads(found.run("get", "modelloops", "-o", "json").stdout or '{"items": []}')["items"]:
        bare = json.dumps({"metadata": {"finalizers": None}})
        found.run("patch", "modelloop", loop["metadata"]["name"], "--type=merge", "-p", bare)
    everything.run("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    if outcome.get_result().failed:  # type: ignore[attr-defined]
        item.failed = True  # type: ignore[attr-defined]


@pytest.fixture
def nodes(context: str) -> list[Json]:
    """The nodes that run pods; skips where there is none."""
    found = ready_nodes(Kubectl(context))
    if not found:
        pytest.skip(f"the cluster of context {context} has no node that is ready")
    return found
