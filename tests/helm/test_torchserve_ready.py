"""TorchServe's pods are ready when a worker has loaded the model: /ping is Healthy long before."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from release_switches import CHAMPION
from rendering import of_kind, rendered

Json = dict[str, Any]
# What TorchServe 0.12.0 answered to GET /models/orders: while its worker loads, and when it answers.
LOADING = [{"modelName": "orders", "minWorkers": 1, "workers": [{"id": "9000", "status": "UNLOADING"}]}]
LOADED = [{"modelName": "orders", "minWorkers": 1, "workers": [{"id": "9000", "status": "READY"}]}]


@contextmanager
def _management(status: int, answer: Any) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/models/orders" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _container(executable: str) -> Json:
    values = {**CHAMPION, "runtime": "torchserve", "model": "orders"}
    deployments = of_kind(rendered(executable, "model-release", values), "Deployment")
    containers = [one for made in deployments for one in made["spec"]["template"]["spec"]["containers"]]
    (found,) = [one for one in containers if one["name"] == "server"]
    return dict(found)


@pytest.mark.parametrize(
    ("status", "answer", "ready"),
    [
        (200, LOADING, False),
        (200, LOADED, True),
        (200, [{**LOADED[0], "workers": [*LOADING[0]["workers"], *LOADED[0]["workers"]]}], True),
        (200, [{**LOADED[0], "workers": []}], False),
        (404, {"code": 404, "type": "ModelNotFoundException"}, False),
    ],
)
def test_ready_is_a_worker_that_has_the_model(a_helm: str, status: int, answer: Any, ready: bool) -> None:
    container = _container(a_helm)
    python, *arguments = container["readinessProbe"]["exec"]["command"]
    assert python == "python"
    assert container["startupProbe"]["exec"] == container["readinessProbe"]["exec"]
    with _management(status, answer) as port:
        asked = [sys.executable, *(one.replace("127.0.0.1:8081", f"127.0.0.1:{port}") for one in arguments)]
        assert (subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0) is ready


def test_the_management_port_stays_in_the_pod(a_helm: str) -> None:
    values = {**CHAMPION, "runtime": "torchserve", "model": "orders"}
    objects = rendered(a_helm, "model-release", values)
    (files,) = [one for one in of_kind(objects, "ConfigMap") if "config.properties" in one["data"]]
    assert "management_address=http://127.0.0.1:8081\n" in files["data"]["config.properties"]
    assert 8081 not in [port["containerPort"] for port in _container(a_helm)["ports"]]
