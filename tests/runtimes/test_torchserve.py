"""TorchServe, with Java and with torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from runtime_process import V2, Running
from runtime_suite import GOOD, RuntimeSuite

from trimtab.serving.torchserve.ready import ready
from trimtab.testing.envoy_world import ask

_JSON = {"content-type": "application/json"}


class TorchServe(V2):
    name = "torchserve"
    error_field = "message"

    @property
    def python(self) -> Path:
        if shutil.which("java") is None:
            pytest.skip("no java: TorchServe needs a Java runtime of version 17 (apt-get install default-jre-headless)")
        return super().python

    def is_ready(self, address: str) -> bool:
        return ready(address, "rodents")


def post(server: Running, path: str, body: Any, headers: dict[str, str] = _JSON) -> tuple[int, Any, dict[str, str]]:
    return ask(server.address, "POST", path, json.dumps(body).encode(), headers=headers)


class TestTorchServe(RuntimeSuite):
    runtime = TorchServe()

    @pytest.mark.parametrize("path", ["/predictions/rodents", "/v1/models/rodents:predict"])
    def test_instances_are_answered_at_both_paths(self, server: Running, path: str) -> None:
        name = f"instances-{len(path)}"
        status, answer, headers = post(server, path, {"instances": [GOOD]}, {**_JSON, "x-request-id": name})
        assert (status, answer["ids"], answer["version"]) == (200, [name], "7")
        assert headers["x-trimtab-version"] == "7"
        server.acknowledged[name] = answer["predictions"][0]

    def test_what_is_no_request_is_the_clients_mistake(self, server: Running) -> None:
        for body in ([], {}, {"instances": [1]}, {"inputs": 1}, {"inputs": [{"name": "weight"}]}):
            assert post(server, "/predictions/rodents", body)[0] == 400
