"""KServe's payload log over HTTP: halves of calls, in whatever order and number they come, become records once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from serving_app import GOOD, V1, V2, Served, tensors

from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import PREDICTIONS
from trimtab.errors import StorageFull
from trimtab.serving import cloudevents
from trimtab.serving.collector import Collector, application
from trimtab.serving.payloads import Limits, Payloads
from trimtab.serving.refusals import Unanswered, Unavailable

EVER = (datetime(1678, 1, 1, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = {"instances": [{"x": 1.5, "sex": None}]}
ANSWERED = {"predictions": ["Dipodomys"]}


def event(kind: str, id_: str, payload: Any, time: datetime = NOON, **more: str) -> CloudEvent:
    """As KServe's logger makes it (pkg/logger/worker.go)."""
    attributes = {
        "id": id_,
        "type": f"org.kubeflow.serving.inference.{kind}",
        "source": "http://localhost:9081/",
        "time": time.isoformat(),
        "inferenceservicename": "rodents-v7",
        "namespace": "field",
        "component": "predictor",
        "endpoint": "",
        "metadata": "{}",
        "datacontenttype": "application/json",
        **more,
    }
    return CloudEvent(attributes, payload)


class _Sink:
    """The collector's application in this process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.collector = Collector(home, payloads_of="rodents")
        self.app = application(self.collector, False)

    def send(self, one: CloudEvent, encode: Callable[[CloudEvent], Any] = to_binary) -> tuple[int, str]:
        headers, body = encode(one)
        return self.post(headers, body)

    def post(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://c") as client:
                return await client.post("/v1/payloads", content=body, headers=headers)

        answer = asyncio.run(call())
        return answer.status_code, answer.text

    def call(self, id_: str, **more: str) -> None:
        assert self.send(event("request", id_, ASKED, **more)) == (200, "")
        assert self.send(event("response", id_, ANSWERED, NOON + timedelta(milliseconds=40), **more)) == (200, "")

    def count(self, name: str, outcome: str) -> float:
        return self.collector.registry.get_sample_value(f"trimtab_payload_{name}_total", {"outcome": outcome}) or 0.0

    def records(self) -> list[dict[str, Any]]:
        return records(self.home)


def records(home: Path) -> list[dict[str, Any]]:
    return RecordFolder(home / "predictions", PREDICTIONS).read(*EVER).to_pylist()


@pytest.fixture
def sink(tmp_path: Path) -> _Sink:
    return _Sink(tmp_path / "home")


@pytest.mark.parametrize("encode", [to_binary, to_structured])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_halves_are_one_record_in_whatever_order(sink: _Sink, encode: Any, order: tuple[int, int]) -> None:
    both = [event("request", "a", ASKED), event("response", "a", ANSWERED, NOON + timedelta(milliseconds=40))]
    for number in order:
        assert sink.records() == []
        assert sink.send(both[number], encode) == (200, "")
    assert sink.records() == [
        {
            "id": "a",
            "time": NOON,
            "version": "7",
            "shadow": False,
            "attempt": 1,
            "protocol": "v1",
            "features": '{"x":1.5,"sex":null}',
            "prediction": "Dipodomys",
            "scores": None,
            "latency_ms": 40.0,
        }
    ]


def test_a_batch_is_taken_whole_or_not_at_all(sink: _Sink) -> None:
    made = [json.loads(to_structured(event("request", "a", ASKED))[1])]
    made.append(json.loads(to_structured(event("response", "a", ANSWERED))[1]))
    kind = {"content-type": "application/cloudevents-batch+json"}
    broken = json.loads(to_structured(event("response", "b", {"nothing": 1}))[1])
    status, said = sink.post(kind, json.dumps([*made, broken]).encode())
    assert (status, "predictions" in said) == (400, True)
    assert sink.post(kind, json.dumps(made[1:]).encode())[0] == 200
    assert sink.records() == []
    assert sink.post(kind, json.dumps(made).encode())[0] == 200
    assert [one["id"] for one in sink.records()] == ["a"]


@pytest.mark.parametrize("path", [V1, V2])
def test_what_our_own_server_answers_becomes_the_very_records_that_it_logs(
    sink: _Sink, server: Served, path: str
) -> None:
    rows = [GOOD, {**GOOD, "weight": 9.0, "sex": "F"}]
    asked = {"instances": rows} if path == V1 else {"id": "asked", "inputs": tensors(rows)}
    status, answer, _ = server.ask("POST", path, asked, x_request_id="asked")
    assert status == 200
    assert sink.send(event("request", "of-the-logger", asked))[0] == 200
    assert sink.send(event("response", "of-the-logger", answer))[0] == 200
    told = ("id", "version", "shadow", "attempt", "protocol", "prediction", "features")
    found, wanted = sink.records(), server.log()
    assert [{name: one[name] for name in told} for one in found] == [
        {name: one[name] for name in told} for one in wanted
    ]
    if path == V2:
        assert [one["scores"] for one in found] == [one["scores"] for one in wanted]


def test_headers_that_kserve_passes_on_name_the_record(sink: _Sink) -> None:
    metadata = json.dumps({"X-Request-Id": ["order-1"], "X-Trimtab-Shadow": ["true"], "X-Envoy-Attempt-Count": ["2"]})
    sink.send(event("request", "a", ASKED, metadata=metadata))
    sink.send(event("response", "a", ANSWERED, annotations=json.dumps({"trimtab.dev/version": "12"})))
    (found,) = sink.records()
    assert (found["id"], found["shadow"], found["attempt"], found["version"]) == ("order-1", True, 2, "12")


def test_events_twice_and_those_of_others_change_nothing(sink: _Sink) -> None:
    for _ in range(3):
        sink.call("a")
    sink.call("b", component="transformer")
    sink.call("c", inferenceservicename="squirrels-v1")
    sink.call("d", type="org.example.other")
    sink.call("e", statuscode="500")
    assert [one["id"] for one in sink.records()] == ["a"]
    assert (sink.count("events", "duplicate"), sink.count("events", "ignored")) == (4, 8)


def test_calls_of_one_id_in_two_namespaces_are_two(sink: _Sink) -> None:
    sink.send(event("request", "a", ASKED, namespace="one"))
    sink.send(event("response", "a", ANSWERED, namespace="two"))
    assert sink.records() == []


def _made(home: Path, limits: Limits | None = None) -> tuple[Payloads, CollectorRegistry]:
    registry = CollectorRegistry()
    return Payloads(home, "", registry, limits), registry


def _events(*made: CloudEvent) -> list[cloudevents.Event]:
    found = []
    for one in made:
        headers, body = to_binary(one)
        found += cloudevents.read(dict(headers), body)
    return found


def _kill(payloads: Payloads) -> None:
    """As the kernel does for a process that is killed: its files are closed and unlocked, nothing is sealed."""
    for journal in (payloads._journal, payloads._predictions):
        if journal._descriptor >= 0:
            os.close(journal._descriptor)


def _calls(registry: CollectorRegistry, outcome: str) -> float:
    return registry.get_sample_value("trimtab_payload_calls_total", {"outcome": outcome}) or 0.0


def test_halves_whose_other_never_comes_are_given_up_and_counted(tmp_path: Path) -> None:
    payloads, registry = _made(tmp_path)
    payloads.take(_events(event("request", "a", ASKED), event("response", "b", ANSWERED)), NOON)
    payloads.sweep(NOON + timedelta(minutes=10))
    assert (_calls(registry, "unanswered"), _calls(registry, "unasked")) == (0, 0)
    payloads.sweep(NOON + timedelta(minutes=10, seconds=1))
    assert (_calls(registry, "unanswered"), _calls(registry, "unasked")) == (1, 1)
    late = NOON + timedelta(minutes=11)
    payloads.take(_events(event("response", "a", ANSWERED)), late)
    assert records(tmp_path) == []
    assert registry.get_sample_value("trimtab_payloads_waiting") == 1


def test_halves_that_do_not_fit_are_counted_and_not_written(tmp_path: Path) -> None:
    payloads, registry = _made(tmp_path)
    two = {"predictions": ["a", "b"]}
    payloads.take(_events(event("request", "a", ASKED), event("response", "a", two)), NOON)
    assert (records(tmp_path), _calls(registry, "unfit")) == ([], 1)


def test_after_a_kill_what_waited_is_joined_and_what_was_joined_is_not_again(tmp_path: Path) -> None:
    first, _ = _made(tmp_path)
    first.take(_events(event("request", "whole", ASKED), event("response", "whole", ANSWERED)), NOON)
    first.take(_events(event("request", "half", ASKED)), NOON)
    _kill(first)
    for _ in range(2):
        _kill(_made(tmp_path)[0])
    second, registry = _made(tmp_path)
    second.take(_events(event("request", "whole", ASKED), event("response", "whole", ANSWERED)), NOON)
    second.take(_events(event("response", "half", ANSWERED)), NOON)
    assert sorted(one["id"] for one in records(tmp_path)) == ["half", "whole"]
    assert _calls(registry, "joined") == 1


def test_a_kill_between_the_record_and_its_mark_joins_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = _made(tmp_path)
    with monkeypatch.context() as patched:
        append = first._journal.append

        def without_mark(lines: Any) -> None:
            if not any("joined" in line for line in lines):
                append(lines)

        patched.setattr(first._journal, "append", without_mark)
        first.take(_events(event("request", "a", ASKED), event("response", "a", ANSWERED)), NOON)
    _kill(first)
    second, _ = _made(tmp_path)
    second.sweep(NOON)
    assert [one["id"] for one in records(tmp_path)] == ["a"]


def test_a_full_disk_refuses_or_delays_but_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payloads, _ = _made(tmp_path)

    def full(_: Any) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(payloads._predictions, "append", full)
        payloads.take(_events(event("request", "a", ASKED), event("response", "a", ANSWERED)), NOON)
        payloads.sweep(NOON + timedelta(days=1))
    with monkeypatch.context() as patched:
        patched.setattr(payloads._journal, "append", full)
        with pytest.raises(StorageFull):
            payloads.take(_events(event("request", "b", ASKED)), NOON)
    assert records(tmp_path) == []
    payloads.sweep(NOON + timedelta(days=2))
    payloads.take(_events(event("response", "b", ANSWERED)), NOON)
    assert [one["id"] for one in records(tmp_path)] == ["a"]


def test_too_many_that_wait_are_shed_aloud(tmp_path: Path) -> None:
    payloads, registry = _made(tmp_path, Limits(most_bytes=2000))
    taken = 0
    with pytest.raises(Unavailable, match=r"wait for their other half, of at most 2000"):  # noqa: PT012
        for number in range(100):
            payloads.take(_events(event("request", f"n{number}", ASKED)), NOON)
            taken += 1
    assert 3 < taken < 20
    assert registry.get_sample_value("trimtab_payload_events_total", {"outcome": "shed"}) == 1
    payloads.sweep(NOON + timedelta(hours=1))
    payloads.take(_events(event("request", "later", ASKED)), NOON)


def test_the_journal_of_halves_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimtab.serving.payloads._REWRITE_BYTES", 1)
    payloads, _ = _made(tmp_path, Limits(wait=timedelta(minutes=1)))
    for number in range(50):
        now = NOON + number * timedelta(minutes=1)
        both = event("request", f"n{number}", ASKED), event("response", f"n{number}", ANSWERED)
        payloads.take(_events(*both), now)
        payloads.sweep(now)
    payloads.close()
    assert len(records(tmp_path)) == 50
    left = b"".join(path.read_bytes() for path in (tmp_path / "payloads/journal").iterdir())
    assert left.count(b"\n") < 10


@pytest.mark.parametrize(
    ("time", "wanted"),
    [
        ("9999-12-31T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("yesterday", None),
        ("2020-02-03T00:00:00Z", 2020),
    ],
)
def test_a_clock_that_cannot_be_right_is_replaced_by_ours(tmp_path: Path, time: str, wanted: int | None) -> None:
    payloads, _ = _made(tmp_path)
    payloads.take(_events(event("request", "a", ASKED), event("response", "a", ANSWERED)), NOON)
    made = [
        cloudevents.Event("b", kind, json.dumps(body).encode(), cloudevents._time(time), "r", "n")
        for kind, body in (("request", ASKED), ("response", ANSWERED))
    ]
    payloads.take(made, NOON)
    found = {one["id"]: one["time"] for one in records(tmp_path)}
    assert found["b"].year == (wanted or NOON.year)


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ({}, b"{}", "no CloudEvent"),
        ({"ce-id": "a", "ce-type": "t"}, b"{}", "specversion"),
        ({"ce-id": "a" * 600, "ce-type": "t", "ce-specversion": "1.0"}, b"{}", "id: expected"),
        ({"ce-id": "", "ce-type": "t", "ce-specversion": "1.0"}, b"{}", "needs an id"),
        ({"content-type": "application/cloudevents+json"}, b"[", "no JSON"),
        ({"content-type": "application/cloudevents+json"}, b"[]", "JSON object"),
        ({"content-type": "application/cloudevents-batch+json"}, b"{}", "a batch must be"),
        ({"content-type": "application/cloudevents+json"}, b'{"data_base64": "?"}', "no base64"),
    ],
)
def test_what_is_no_event_is_refused_in_words(sink: _Sink, headers: dict[str, str], body: bytes, words: str) -> None:
    status, said = sink.post(headers, body)
    assert (status, words in json.loads(said)["error"]) == (400, True), said


@pytest.mark.parametrize(
    "payload",
    [[], {"instances": []}, {"instances": [[1, 2]]}, {"inputs": []}, {"inputs": [{"name": "x"}]}, {"text": "hello"}],
)
def test_a_payload_of_no_known_protocol_is_refused(sink: _Sink, payload: Any) -> None:
    assert sink.send(event("request", "a", payload))[0] == 400


def test_a_body_that_is_too_large_is_refused_before_it_is_read(sink: _Sink) -> None:
    headers, _ = to_binary(event("request", "a", ASKED))
    assert sink.post(dict(headers), b" " * (4 << 20) + b"{}")[0] == 413
    many = {"instances": [{"x": 1}] * 10_001}
    assert sink.send(event("request", "b", many))[0] == 413


def test_a_collector_that_was_not_asked_to_takes_none(tmp_path: Path) -> None:
    sink = _Sink(tmp_path)
    sink.app = application(Collector(tmp_path / "other"), False)
    status, said = sink.send(event("request", "a", ASKED))
    assert (status, "--payloads" in said) == (404, True)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)
_NAMES = ("predictions", "ids", "version", "outputs", "id", "instances", "inputs", "model_version")
_BODY = st.fixed_dictionaries({}, optional=dict.fromkeys(_NAMES, _JSON))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=_BODY | _JSON, kind=st.sampled_from(["request", "response"]), metadata=st.text(max_size=50))
def test_no_payload_makes_a_mistake_of_ours(tmp_path: Path, body: Any, kind: str, metadata: str) -> None:
    made = json.dumps(body).encode(errors="replace")
    one = cloudevents.Event("a", kind, made, NOON, "rodents", "n", headers={"x-request-id": metadata})  # type: ignore[arg-type]
    payloads, _ = _made(tmp_path)
    other = event("response" if kind == "request" else "request", "a", ANSWERED if kind == "request" else ASKED)
    with contextlib.suppress(Unanswered):
        payloads.take([one, *_events(other)], NOON)
    payloads.close()
