"""Counts by version out of a real Prometheus that scrapes a real process."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.adapters.router.metric_sources import SOURCES
from trimtab.adapters.router.prometheus import Evidence, Prometheus
from trimtab.errors import EvidenceMissing
from trimtab.ports.router import Traffic
from trimtab.testing.envoy_world import until
from trimtab.testing.prometheus_server import BINARY, MISSING, Watched

pytestmark = [pytest.mark.local, pytest.mark.skipif(BINARY is None, reason=MISSING)]
TARGETS = {"1": "m-v1.shop.svc:80", "2": "m-v2.shop.svc:80"}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path)
    yield found
    found.close()


def info(version: str) -> str:
    return f'trimtab_model_info{{model="m",version="{version}",digest="sha256:1"}}'


def answered(version: str, shadow: str = "false", protocol: str = "v1") -> str:
    return f'trimtab_requests_total{{model="m",version="{version}",protocol="{protocol}",shadow="{shadow}"}}'


def unanswered(version: str, status: int) -> str:
    return f'trimtab_unanswered_total{{model="m",version="{version}",status="{status}"}}'


ALIVE = {info("1"): 1.0, info("2"): 1.0}


def evidence(watched: Watched, source: str = "servers", stale_seconds: float = 30.0) -> Evidence:
    return Evidence(Prometheus(watched.url), SOURCES[source], "shop", stale_seconds=stale_seconds)


def bare(found: Mapping[str, Traffic]) -> dict[str, tuple[int, int, int, int]]:
    return {version: (one.requests, one.failures, one.mirrored, one.mirror_failures) for version, one in found.items()}


def test_requests_failures_copies_and_restarts_are_counted_to_the_last_one(watched: Watched) -> None:
    watched.tell({**ALIVE, answered("1"): 100, unanswered("1", 500): 7})
    watched.seen(answered("1"), 100)
    watched.seen(unanswered("1", 500), 7)
    since = datetime.now(UTC)
    reader = evidence(watched)
    assert bare(reader.read("m", TARGETS, since)) == {"1": (0, 0, 0, 0), "2": (0, 0, 0, 0)}
    told = {
        **{answered("1"): 110.0, answered("1", protocol="v2"): 5.0, unanswered("1", 500): 7.0},
        # Born with its first failures: what increase() would call no failures at all.
        **{answered("2"): 4.0, answered("2", "true"): 9.0, unanswered("2", 503): 3.0, unanswered("2", 422): 2.0},
    }
    watched.tell({**ALIVE, **told})
    watched.seen(unanswered("2", 503), 3)
    watched.seen(answered("1"), 110)
    wanted = {"1": (15, 0, 0, 0), "2": (9, 3, 9, 0)}
    assert bare(reader.read("m", TARGETS, since)) == wanted
    assert bare(evidence(watched).read("m", TARGETS, since)) == wanted  # an operator that was started again
    watched.tell({**ALIVE, **told, answered("2"): 1.0})  # the server was started again
    watched.seen(answered("2"), 1)
    assert bare(reader.read("m", TARGETS, since))["2"] == (10, 3, 9, 0)
    until(lambda: datetime.now(UTC) - since > timedelta(seconds=4))  # what came before is only in the past by now
    assert bare(evidence(watched).read("m", TARGETS, since))["2"] == (10, 3, 9, 0)
    assert len({one.epoch for one in reader.read("m", TARGETS, since).values()}) == 1


def test_a_prometheus_that_died_is_no_evidence_and_nothing_is_lost_when_it_is_back(watched: Watched) -> None:
    watched.tell({**ALIVE, answered("2"): 1})
    watched.seen(answered("2"), 1)
    since = datetime.now(UTC)
    reader = evidence(watched)
    reader.read("m", TARGETS, since)
    watched.kill()
    with pytest.raises(EvidenceMissing, match="does not answer"):
        reader.read("m", TARGETS, since)
    watched.tell({**ALIVE, answered("2"): 6, unanswered("2", 500): 4})
    watched.start()
    watched.seen(unanswered("2", 500), 4)
    assert bare(reader.read("m", TARGETS, since))["2"] == (9, 4, 0, 0)


def test_a_version_that_prometheus_has_not_heard_of_is_not_a_version_without_failures(watched: Watched) -> None:
    watched.tell({info("1"): 1})
    watched.seen(info("1"), 1)
    reader, since = evidence(watched), datetime.now(UTC)
    with pytest.raises(EvidenceMissing, match="nothing of version 2"):
        reader.read("m", TARGETS, since)
    assert bare(reader.read("m", {"1": TARGETS["1"]}, since)) == {"1": (0, 0, 0, 0)}
    with pytest.raises(EvidenceMissing, match="nothing of version 1"):
        reader.read("another", {"1": TARGETS["1"]}, since)


def test_a_server_that_hangs_makes_its_version_silent(watched: Watched) -> None:
    watched.tell(ALIVE)
    watched.seen(info("2"), 1)
    reader, since = evidence(watched, stale_seconds=1.5), datetime.now(UTC)
    reader.read("m", TARGETS, since)
    watched.pause_exporter(True)

    def silent() -> bool:
        try:
            reader.read("m", TARGETS, since)
        except EvidenceMissing as error:
            return "nobody knows how it does" in str(error)
        return False

    until(silent, 60)
    watched.pause_exporter(False)
    until(lambda: not silent(), 60)


def test_istio_counts_by_service_and_wants_a_proxy_to_be_watched(watched: Watched) -> None:
    def istio(service: str, code: str, flags: str = "-", reporter: str = "source") -> str:
        labels = f'reporter="{reporter}",destination_service_namespace="shop",response_flags="{flags}"'
        return f'istio_requests_total{{{labels},destination_service_name="{service}",response_code="{code}"}}'

    watched.tell(ALIVE)
    watched.seen(info("2"), 1)
    reader, since = evidence(watched, "istio"), datetime.now(UTC)
    with pytest.raises(EvidenceMissing, match="istio_build"):
        reader.read("m", TARGETS, since)
    told = {istio("m-v1", "200"): 50, istio("m-v2", "200"): 20, istio("m-v2", "503", "UH"): 5}
    told |= {
        istio("m-v2", "0", "UF"): 2,
        istio("m-v2", "0", "DC"): 3,
        istio("m-v2", "400"): 1,
        istio("m-v2", "200", reporter="destination"): 99,
    }
    told |= {istio("other", "500"): 77, answered("2", "true"): 8, answered("2"): 1000}
    watched.tell({**ALIVE, 'istio_build{component="proxy",tag="1.30.3"}': 1, **told})
    watched.seen(answered("2"), 1000)
    assert bare(reader.read("m", TARGETS, since)) == {"1": (50, 0, 0, 0), "2": (31, 7, 8, 0)}


@pytest.mark.parametrize(
    "series",
    [
        'revision_app_request_count{{revision_name="{}",response_code="{}",response_code_class="x"}}',
        'kn_serving_invocation_duration_seconds_count{{kn_revision_name="{}",http_response_status_code="{}"}}',
    ],
)
def test_knative_counts_by_revision_before_and_since_opentelemetry(watched: Watched, series: str) -> None:
    told = {series.format("m-predictor-00001", 200): 40, series.format("m-predictor-00002", 200): 10}
    watched.tell({**ALIVE})
    watched.seen(info("2"), 1)
    since = datetime.now(UTC)
    watched.tell({**ALIVE, **told, series.format("m-predictor-00002", 502): 2})
    watched.seen(series.format("m-predictor-00002", 502), 2)
    targets = {"1": "m-predictor-00001.shop.svc:80", "2": "m-predictor-00002.shop.svc:80"}
    found = evidence(watched, "knative").read("m", targets, since)
    assert bare(found) == {"1": (40, 0, 0, 0), "2": (12, 2, 0, 0)}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "is that Prometheus"),
        (200, b"[]", "is that Prometheus"),
        (200, b'{"status":"success","data":{}}', "does not answer as Prometheus does"),
        (200, b'{"status":"success","warnings":["one store is away"],"data":{"result":[]}}', "one store is away"),
        (422, b'{"status":"error","error":"too many samples"}', "too many samples"),
        (503, b"", "503"),
    ],
)
def test_half_an_answer_is_none(status: int, body: bytes, words: str) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *details: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = Evidence(Prometheus(f"http://127.0.0.1:{server.server_address[1]}"), SOURCES["servers"], "shop")
        with pytest.raises(EvidenceMissing, match=words):
            asked.read("m", TARGETS, datetime.now(UTC))
        server.shutdown()
