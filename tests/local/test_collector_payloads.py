"""The real collector under KServe's payload log: kill -9 loses no call that was acknowledged and doubles none."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from pathlib import Path

import pytest
from serving_processes import Process, ask, collector, predictions, until

pytestmark = pytest.mark.local


def _send(process: Process, kind: str, id_: str) -> bool:
    payload = {"instances": [{"x": 1}]} if kind == "request" else {"predictions": ["a"]}
    headers = {
        "ce-specversion": "1.0",
        "ce-id": id_,
        "ce-type": f"org.kubeflow.serving.inference.{kind}",
        "ce-source": "http://localhost:9081/",
        "ce-inferenceservicename": "m-v1",
        "content-type": "application/json",
    }
    try:
        status, _, _ = ask(process.address, "POST", "/v1/payloads", json.dumps(payload).encode(), headers=headers)
    except (OSError, http.client.HTTPException):
        return False
    assert status == 200
    return True


def test_killed_with_9_no_acknowledged_call_is_lost_or_doubled(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    owed: list[str] = []  # requests that were acknowledged and whose answers were not
    for life in range(4):
        process = collector(tmp_path, "--payloads", "m", "--every", "0.05")
        for id_ in list(owed):
            if _send(process, "response", id_):
                owed.remove(id_)
                acknowledged.add(id_)
        if life == 3:
            break

        def load(process: Process = process, life: int = life) -> None:
            number = 0
            while True:
                number += 1
                id_ = f"{life}-{number}"
                if not _send(process, "request", id_):
                    return
                if number % 7 == 0 or not _send(process, "response", id_):
                    owed.append(id_)
                    if number % 7:
                        return
                    continue
                acknowledged.add(id_)

        thread = threading.Thread(target=load)
        thread.start()
        wanted = len(acknowledged) + 150
        until(lambda wanted=wanted: len(acknowledged) > wanted, 60)
        process.kill()
        thread.join(20)
    assert not owed
    assert process.terminate() == 0
    found = Counter(one["id"] for one in predictions(tmp_path))
    assert acknowledged <= set(found)
    assert max(found.values()) == 1
    assert not list((tmp_path / "predictions" / "journal").glob("*.open"))
