"""Outputs said in MLflow by a pipeline's last task, and read by the key: what KFP itself shows to no program."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import TRIMTAB
from test_components import _loop

from trimtab import wiring
from trimtab.errors import TrimtabError
from trimtab.stages.reporting import EXPERIMENT, said, say

pytestmark = pytest.mark.local


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_what_was_said_is_read_whole_and_by_its_key_only(uri: str) -> None:
    assert said(uri, "a") is None
    outputs = {"version": "1", "evidence": json.dumps({"é'\"`": "x" * 20_000})}
    for key, value in (("a", outputs), ("A", {"version": "2"}), ("it's `odd`", {"version": "3"})):
        say(uri, key, value)
    assert said(uri, "a") == outputs
    assert said(uri, "A") == {"version": "2"}
    assert said(uri, "it's `odd`") == {"version": "3"}
    assert said(uri, "b") is None
    say(uri, "A", {"version": "4"})
    assert said(uri, "A") == {"version": "4"}


def test_runs_that_end_at_once_all_say_theirs(uri: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: say(uri, f"run-{number}", {"n": number}), range(8)))
    assert [said(uri, f"run-{number}") for number in range(8)] == [{"n": number} for number in range(8)]


def test_a_store_that_is_away_is_said_and_is_not_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrimtabError, match="could not be read"):
        said("http://127.0.0.1:1", "a")


def test_what_somebody_changed_is_not_believed(uri: str) -> None:
    from trimtab.stages.register import connect

    say(uri, "a", {"version": "1"})
    client = connect(uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    client.set_tag(run.info.run_id, "trimtab.outputs.0", '{"version"')
    with pytest.raises(TrimtabError, match="changed by somebody"):
        said(uri, "a")


def test_the_compiled_pipelines_say_their_outputs_when_asked(tmp_path: Path, uri: str) -> None:
    loop = _loop(tmp_path)

    def run(name: str, **parameters: str) -> dict[str, object]:
        arguments = [part for key, value in parameters.items() for part in ("-p", f"{key}={value}")]
        file = wiring.pipelines_folder() / f"{name}.yaml"
        command = [*TRIMTAB, "pipeline", "run", str(file), *arguments, "--json", "--home", str(tmp_path / "home")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert ended.returncode == 0, ended.stderr
        return dict(json.loads(ended.stdout)["output"])

    at, artifacts = "2020-01-24T00:00:00+00:00", str(tmp_path / "artifacts")
    trained = run(
        "training-pipeline",
        loop=loop,
        as_of=at,
        tracking_uri=uri,
        artifact_root=artifacts,
        report_as="shop/rodents/t-1",
    )
    assert said(uri, "shop/rodents/t-1") == trained
    (tmp_path / "logs").mkdir()
    watched = run(
        "monitoring-pipeline",
        loop=loop,
        now="2020-02-24T00:00:00+00:00",
        predictions=str(tmp_path / "logs"),
        labels=str(tmp_path / "logs"),
        bundle=str(trained["bundle"]),
        digest=str(trained["digest"]),
        tracking_uri=uri,
        report_as="shop/rodents/m-1",
    )
    assert said(uri, "shop/rodents/m-1") == watched
