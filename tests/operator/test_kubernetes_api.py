"""The API server's contract over the one for tests and, opt-in, over a real cluster (`-m cluster`)."""

import os
import uuid
from collections.abc import Iterator

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from trimtab.testing.kubernetes.server import KubernetesApi
from trimtab.testing.kubernetes.suite import KubernetesApiSuite


class TestOurs(KubernetesApiSuite):
    @pytest.fixture
    def server(self) -> Iterator[KubernetesApi]:
        with KubernetesApi() as server:
            yield server

    @pytest.fixture
    def api(self, server: KubernetesApi) -> Iterator[client.ApiClient]:
        with client.ApiClient(client.Configuration(host=server.url)) as api:
            yield api

    @pytest.fixture
    def namespace(self) -> str:
        return "default"


ALLOW = "TRIMTAB_CLUSTER_TESTS_MAY_USE_CONTEXT"


@pytest.mark.cluster
class TestRealCluster(KubernetesApiSuite):
    """Only on a context that is `kind-*` or named by the variable ALLOW; each test in a namespace of its own."""

    @pytest.fixture
    def api(self) -> client.ApiClient:
        if not os.environ.get("KUBECONFIG"):
            pytest.skip("no KUBECONFIG: set it to a cluster for tests")
        _, active = config.list_kube_config_contexts()
        name = active["name"]
        if not name.startswith("kind-") and os.environ.get(ALLOW) != name:
            pytest.skip(f"context {name} is neither kind-* nor allowed by {ALLOW}={name}")
        api = config.new_client_from_config()
        api.call_api("/readyz", "GET", auth_settings=["BearerToken"], _request_timeout=10)
        return api

    @pytest.fixture
    def namespace(self, api: client.ApiClient) -> Iterator[str]:
        core, name = client.CoreV1Api(api), f"trimtab-test-{uuid.uuid4().hex[:8]}"
        core.create_namespace({"metadata": {"name": name}})
        yield name
        try:
            core.delete_namespace(name)
        except ApiException as error:
            if error.status != 404:
                raise
