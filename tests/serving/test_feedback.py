"""Labels over HTTP: what is taken, what is refused, and where it goes; without a process."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.adapters.records.parquet import RecordFolder
from trimtab.adapters.records.schema import LABELS
from trimtab.errors import StorageFull
from trimtab.serving.collector import Collector, application
from trimtab.serving.labels import read
from trimtab.serving.refusals import Refused

_PATH = "/v1/feedback"


class _Served:
    def __init__(self, home: Path, virtual_time: bool = False) -> None:
        self.home, self.collector = home, Collector(home)
        self.app = application(self.collector, virtual_time)

    def post(self, body: Any, **headers: str) -> tuple[int, Any]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return asyncio.run(self._send("POST", _PATH, content, named))

    def get(self, path: str) -> tuple[int, Any]:
        return asyncio.run(self._send("GET", path, None, {}))

    async def _send(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://c") as client:
            answer = await client.request(method, path, content=content, headers=headers)
        return answer.status_code, answer.json() if "json" in answer.headers["content-type"] else answer.text

    def labels(self) -> list[tuple]:
        """(id, label) in the order they came."""
        ever = datetime(1678, 1, 1, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC)
        return [(one["id"], one["label"]) for one in RecordFolder(self.home / "labels", LABELS).read(*ever).to_pylist()]


@pytest.fixture
def server(tmp_path: Path) -> _Served:
    return _Served(tmp_path)


def test_one_label_or_many(server: _Served) -> None:
    assert server.post({"id": "a", "label": "Dipodomys"}) == (202, {"accepted": 1})
    many = [
        {"id": "b", "label": 1},
        {"id": "c", "label": 1.5},
        {"id": "labels", "label": True},
        {"id": "a", "label": "x"},
    ]
    assert server.post({"labels": many}) == (202, {"accepted": 4})
    assert server.post({"id": "labels", "label": "labels"}, content_type="text/plain") == (202, {"accepted": 1})
    assert server.labels() == [
        ("a", "Dipodomys"), ("b", "1"), ("c", "1.5"), ("labels", "True"), ("a", "x"), ("labels", "labels"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b'{"id": "a", "label": NaN}', 400, "no JSON"),
        (b'{"id": "a", "label": "\\ud800"}', 400, "no JSON"),
        ([], 422, "body: "),
        ({}, 422, "id: Field required; label: Field required"),
        ({"id": "", "label": "x"}, 422, "id: String should have at least 1 character"),
        ({"id": "a" * 301, "label": "x"}, 422, "id: "),
        ({"id": 7, "label": "x"}, 422, "id: Input should be a valid string"),
        ({"id": "a", "label": None}, 422, "label: expected text, a number, true or false"),
        ({"id": "a", "label": ["x"]}, 422, "label: expected"),
        ({"id": "a", "label": "x" * 10_001}, 422, "10001 characters"),
        ({"id": "a", "label": "x", "time": 1}, 422, "time: Extra inputs"),
        ({"labels": []}, 422, "labels: "),
        ({"labels": [{"id": "a", "label": "x"}, {"id": "b"}]}, 422, "labels.1.label: Field required"),
        ({"labels": [{"id": "a", "label": "x"}] * 10_001}, 422, "labels: "),
    ],
)
def test_what_cannot_be_taken_is_told_and_nothing_of_it_is_kept(
    server: _Served, body: Any, status: int, said: str
) -> None:
    found, answer = server.post(body)
    assert (found, said in answer["error"]) == (status, True), answer
    assert server.labels() == []


def test_too_large_a_body_is_413(server: _Served) -> None:
    status, answer = server.post(b" " * ((4 << 20) + 1))
    assert (status, "send fewer labels" in answer["error"]) == (413, True)


def test_the_time_is_the_callers_only_in_a_replay(tmp_path: Path) -> None:
    for name, virtual_time in (("live", False), ("replay", True)):
        server = _Served(tmp_path / name, virtual_time)
        assert server.post({"id": "a", "label": "x"}, x_trimtab_time="1999-05-06T00:00:00+00:00")[0] == 202
        ever = datetime(1678, 1, 1, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC)
        time = RecordFolder(tmp_path / name / "labels", LABELS).read(*ever).to_pylist()[0]["time"]
        assert (time == datetime(1999, 5, 6, tzinfo=UTC)) == virtual_time
    assert server.post({"id": "a", "label": "x"}, x_trimtab_time="soon")[0] == 400


def test_a_token_is_wanted_if_one_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_FEEDBACK_TOKEN", "s3cret")
    server = _Served(tmp_path)
    good = {"id": "a", "label": "x"}
    assert server.post(good)[0] == 401
    assert server.post(good, authorization="Bearer wrong")[0] == 401
    assert server.post(good, authorization="Bearer s3cret")[0] == 202


def test_a_full_disk_is_503_and_nothing_is_accepted(server: _Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StorageFull("no room on that disk")

    monkeypatch.setattr(server.collector._labels, "append", full)
    assert server.post({"id": "a", "label": "x"}) == (503, {"error": "no room on that disk"})
    assert "trimtab_labels_total 0.0" in server.get("/metrics")[1]


def test_trouble_with_one_log_is_told_and_the_other_goes_on(
    server: _Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged() -> int:
        raise ValueError("no segment of this log")

    with monkeypatch.context() as patched:
        patched.setattr(server.collector._folders[0], "compact", damaged)
        server.post({"id": "a", "label": "x"})
        server.collector.work()
        status, answer = server.get("/healthz")
        assert (status, answer["status"], "no segment of this log" in answer["trouble"]) == (200, "trouble", True)
        assert "trimtab_log_trouble 1.0" in server.get("/metrics")[1]
        server.collector.close()
    assert server.labels() == [("a", "x")]
    assert list((tmp_path / "labels").glob("day=*/*.parquet"))
    server.collector.work()
    assert server.get("/healthz") == (200, {"status": "ok", "trouble": ""})


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "label", "labels", "x"]), inner),
    max_leaves=8,
)


@given(st.binary(max_size=100) | _ANY.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_is_accepted_or_told_what_is_wrong(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    server = _Served(tmp_path_factory.mktemp("fuzz"))
    status, answer = server.post(body)
    assert status in (202, 400, 422)
    assert len(server.labels()) == (answer["accepted"] if status == 202 else 0)


@pytest.mark.parametrize("label", ["abc", True, "nan", "1e999"])
def test_a_label_that_is_no_number_is_refused_where_a_number_is_predicted(label: Any) -> None:
    body = json.dumps({"id": "a", "label": label}).encode()
    assert read(body)
    with pytest.raises(Refused, match="no number"):
        read(body, numbers=True)
    assert [one.text for one in read(b'{"labels": [{"id": "a", "label": 1.5}, {"id": "b", "label": "2"}]}', True)]
