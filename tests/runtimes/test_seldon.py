"""Seldon Core's Python wrapper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from runtime_process import Reply, Row, Running, Runtime
from runtime_suite import GOOD, RuntimeSuite

from trimtab.testing.bundles import MadeBundle
from trimtab.testing.envoy_world import ask

_PATH = "/api/v1.0/predictions"


class Seldon(Runtime):
    name = "seldon"
    ready_path = "/health/status"

    def predict(self, address: str, rows: Sequence[Row], request_id: str) -> Reply:
        names = list(rows[0])
        data = {"names": names, "ndarray": [[row[name] for name in names] for row in rows]}
        status, answer, headers = post(address, {"meta": {"puid": request_id}, "data": data})
        if status != 200:
            return Reply(status, error=answer["status"]["info"])
        assert headers["x-request-id"] == answer["meta"]["puid"]
        found, tags = answer["data"]["ndarray"], answer["meta"]["tags"]
        assert answer["data"]["names"] == ["prediction", "Chaetodipus", "Dipodomys", "Onychomys"]
        return Reply(
            status,
            predictions=tuple(row[0] for row in found),
            scores=tuple(tuple(row[1:]) for row in found),
            ids=tuple(tags["ids"]),
            version=tags["version"],
        )


def post(address: str, body: Any) -> tuple[int, Any, dict[str, str]]:
    return ask(address, "POST", _PATH, json.dumps(body).encode(), headers={"content-type": "application/json"})


class TestSeldon(RuntimeSuite):
    runtime = Seldon()

    def test_rows_may_be_objects_too(self, server: Running, made: MadeBundle) -> None:
        status, answer, _ = post(server.address, {"jsonData": {"instances": [GOOD]}, "meta": {"puid": "object"}})
        assert status == 200
        assert (answer["jsonData"]["ids"], answer["jsonData"]["version"]) == (["object"], "7")
        server.acknowledged["object"] = answer["jsonData"]["predictions"][0]

    def test_what_is_no_request_is_the_clients_mistake(self, server: Running) -> None:
        for body in ([], {}, {"data": {"tensor": {"shape": [1], "values": [1]}}}, {"data": {"names": ["weight"]}}):
            status, answer, _ = post(server.address, body)
            assert (status, "expected" in answer["status"]["info"]) == (400, True)

    def test_too_large_a_body_is_refused_before_it_is_read(self, server: Running) -> None:
        with closing(HTTPConnection(server.address, timeout=20)) as connection:
            connection.putrequest("POST", _PATH)
            connection.putheader("content-length", str(5 << 20))
            connection.endheaders()
            answer = connection.getresponse()
            assert (answer.status, b"4194304 bytes" in answer.read()) == (413, True)
