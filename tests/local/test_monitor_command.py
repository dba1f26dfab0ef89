"""`trimtab monitor`: a real drifted log, judged by the compiled pipeline, and each way to start a training."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trimtab.adapters.cluster import Cluster
from trimtab.adapters.records.journal import Journal
from trimtab.adapters.turns.configmap import ConfigMapTurns
from trimtab.cli import monitoring
from trimtab.cli.main import app
from trimtab.cli.monitoring import STATE
from trimtab.cli.opening import Opened
from trimtab.decisions.monitoring import MonitoringVerdict
from trimtab.errors import Refused, TrimtabError
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle
from trimtab.testing.kfp_api import KfpApi

pytestmark = pytest.mark.local
NOON = datetime(2020, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    folder = tmp_path_factory.mktemp("product")
    made = bundles.make(folder / "bundle")
    (folder / "loop.yaml").write_text(made.document.model_dump_json(by_alias=True, exclude_none=True))
    return made


def log(folder: Path, shift: float) -> None:
    """A week of answers to rows whose weights have moved by `shift` grams."""
    journal = Journal(folder / "predictions", "rodents-v1")
    frame = bundles.rows(600, seed=5)
    columns = ["weight", "hindfoot", "sex", "plot"]
    for number, row in enumerate(json.loads(frame[columns].to_json(orient="records"))):
        row["weight"] = round(row["weight"] + shift, 1)
        record = {
            "id": f"r{number}",
            "time": (NOON - timedelta(days=7) + timedelta(minutes=15 * number)).isoformat(),
            "version": "1",
            "shadow": False,
            "attempt": 1,
            "protocol": "v1",
            "features": json.dumps(row),
            "prediction": "Dipodomys",
            "scores": None,
            "latency_ms": 1.0,
        }
        journal.append([record])
    journal.close()


class Asked:
    """The command on one product and log."""

    def __init__(self, made: MadeBundle, folder: Path) -> None:
        self._made, self.folder = made, folder

    def __call__(self, *arguments: str, now: datetime = NOON) -> dict[str, Any]:
        product = self._made.folder
        given = [
            *("monitor", str(product.parent / "loop.yaml"), "--home", str(self.folder / "state"), "--json"),
            *("--bundle", str(product), "--digest", self._made.digest, "--version", "1", "--now", now.isoformat()),
            *("--predictions", str(self.folder / "predictions"), "--labels", str(self.folder / "labels"), *arguments),
        ]
        done = CliRunner().invoke(app, given)
        if isinstance(done.exception, TrimtabError):
            raise done.exception
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout[done.stdout.index("{\n") :]))


@pytest.fixture
def ask(made: MadeBundle, tmp_path: Path) -> Asked:
    return Asked(made, tmp_path)


@pytest.fixture(scope="module")
def verdict(made: MadeBundle, tmp_path_factory: pytest.TempPathFactory) -> MonitoringVerdict:
    """What the pipeline really says of drifted traffic."""
    folder = tmp_path_factory.mktemp("drifted")
    log(folder, 25)
    return MonitoringVerdict.from_json(json.dumps(Asked(made, folder)()["evidence"]))


@pytest.fixture
def drifted(ask: Asked, verdict: MonitoringVerdict, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The command with this verdict, without the seconds that the pipeline takes."""

    def run(found: Opened, *_: object) -> tuple[MonitoringVerdict, Path]:
        return verdict, found.home.make().root / "report.html"

    monkeypatch.setattr(monitoring, "_run", run)
    return ask


class Webhook(http.server.BaseHTTPRequestHandler):
    taken: list[tuple[str, Any]]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken.append((self.headers.get("authorization", ""), json.loads(body)))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Webhook]]]:
    kind = type("Hook", (Webhook,), {"taken": [], "status": 202})
    with http.server.HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/retrain", kind
        server.shutdown()
        thread.join()


def test_traffic_as_it_was_trained_on_starts_nothing(ask: Asked, hook: tuple[str, type[Webhook]]) -> None:
    log(ask.folder, 0)
    told = ask("--webhook", hook[0])
    assert (told["retrain"], told["started"], hook[1].taken) == (False, "", [])
    assert "<html" in Path(told["report"]).read_text()
    assert json.loads(Path(told["report"]).with_suffix(".json").read_text())


def test_drift_calls_the_webhook_once_and_again_only_after_the_cooldown(
    drifted: Asked, hook: tuple[str, type[Webhook]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_WEBHOOK_TOKEN", "secret")
    told = drifted("--webhook", hook[0])
    assert told["retrain"]
    assert told["cause"].startswith("drift")
    ((authorization, sent),) = hook[1].taken
    assert authorization == "Bearer secret"
    assert (sent["loop"], sent["cause"], sent["verdict"]) == ("rodents", told["cause"], told["verdict"])
    later = drifted("--webhook", hook[0], now=NOON + timedelta(hours=1))
    assert not later["retrain"]
    assert "cooldown" in later["decision"]
    assert len(hook[1].taken) == 1


def test_a_webhook_that_fails_is_tried_again_by_the_next_run(drifted: Asked, hook: tuple[str, type[Webhook]]) -> None:
    hook[1].status = 503
    with pytest.raises(TrimtabError, match="answers 503"):
        drifted("--webhook", hook[0])
    assert not (drifted.folder / "state" / STATE).exists()
    hook[1].status = 200
    assert drifted("--webhook", hook[0])["retrain"]


def test_a_webhook_that_is_not_there_is_named(drifted: Asked) -> None:
    with pytest.raises(TrimtabError, match=r"webhook .* does not answer"):
        drifted("--webhook", "http://127.0.0.1:1/")


def test_drift_starts_a_kfp_run(drifted: Asked) -> None:
    with KfpApi() as api:
        told = drifted("--submit", api.url)
        assert drifted("--submit", api.url, now=NOON + timedelta(hours=1))["started"] == ""
        assert list(api.runs) == ["run-1"]
    assert api.url in told["started"]


def test_drift_asks_the_operator_once(drifted: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.testing.kubernetes.server import KubernetesApi

    with KubernetesApi() as server:
        turns = ConfigMapTurns(Cluster.connect(url=server.url), "default", "rodents")
        monkeypatch.setattr(Cluster, "connect", lambda *_: turns._cluster)
        assert "wish 1" in drifted("--wish", "default/rodents")["started"]
        (drifted.folder / "state" / STATE).unlink()  # a pod without a volume forgets
        assert "is open already" in drifted("--wish", "default/rodents")["started"]
        (wish,) = turns.open_wishes()
    assert (wish.kind, wish.arguments["who"]) == ("retrain", "the drift monitor")
    assert "drift" in wish.arguments["why"]


def test_another_champion_is_another_matter(drifted: Asked) -> None:
    assert drifted()["started"] == "nothing was told to start a training"
    state = json.loads((drifted.folder / "state" / STATE).read_text())
    assert (state["champion"], state.get("handled", [])) == ("1", [])


def test_old_reports_are_removed(ask: Asked) -> None:
    for hour in range(2):
        ask("--keep", "1", now=NOON + timedelta(hours=hour))
    assert sorted(path.name for path in (ask.folder / "state/reports").iterdir()) == [
        "rodents-20200301T130000Z.html",
        "rodents-20200301T130000Z.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--wish", "rodents"], "NAMESPACE/LOOP"),
        (["--webhook", "ftp://x"], "expected a URL"),
        (["--webhook", "http://x", "--submit", "http://y"], "choose one of them"),
    ],
)
def test_a_trigger_that_is_none_is_refused_before_anything_runs(ask: Asked, arguments: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        ask(*arguments)
    assert not (ask.folder / "state").exists()


def test_a_wrong_digest_or_state_is_said(ask: Asked) -> None:
    with pytest.raises(TrimtabError, match="the window was not judged"):
        ask("--digest", f"sha256:{'0' * 64}")
    (ask.folder / "state" / STATE).write_text("{")
    with pytest.raises(TrimtabError, match="cannot be read"):
        ask()
