"""`trimtab compile` and `submit`: files that are fresh, and the very file that a KFP server is sent."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
import yaml

from trimtab import wiring
from trimtab.cli.kfp import Server, compile_pipelines, compiled, submit
from trimtab.errors import Refused, TrimtabError
from trimtab.spec.generate import SMALLEST
from trimtab.spec.read import loads
from trimtab.testing.kfp_api import KfpApi

pytestmark = pytest.mark.local


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    path = tmp_path / "loop.yaml"
    path.write_text(SMALLEST)
    return path


def test_the_compiled_files_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    compile_pipelines(check=True)
    assert "fresh" in capsys.readouterr().out


def test_a_stale_file_is_named_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in compiled().items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "training-pipeline.yaml").write_text("old")
    monkeypatch.setattr(wiring, "pipelines_folder", lambda: tmp_path)
    with pytest.raises(SystemExit) as ended:
        compile_pipelines(check=True)
    assert ended.value.code == 1
    assert "training-pipeline.yaml" in capsys.readouterr().err
    compile_pipelines(check=False)
    compile_pipelines(check=True)


def test_submit_sends_the_compiled_file_and_the_whole_document(loop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with KfpApi() as api:
        submit(loop, Server(api.url), "2024-05-01", as_json=True, tracking_uri="http://mlflow:5000")
        submit(loop, Server(api.url + "/"), "", as_json=True)
    run = api.runs["run-1"]
    (version,) = api.versions.values()
    sent = next(yaml.safe_load_all((wiring.pipelines_folder() / "training-pipeline.yaml").read_text()))
    assert version["pipeline_spec"] == sent
    assert {one["pipeline_version_reference"]["pipeline_version_id"] for one in api.runs.values()} == {
        version["pipeline_version_id"]
    }
    parameters = run["runtime_config"]["parameters"]
    assert loads(parameters["loop"]) == loads(SMALLEST)
    assert parameters["as_of"] == "2024-05-01T00:00:00+00:00"
    assert parameters["tracking_uri"] == "http://mlflow:5000"
    assert [one["display_name"] for one in api.experiments.values()] == ["orders"]
    told = capsys.readouterr().out
    assert json.loads(told[: told.index("}") + 1])["run"] == "run-1"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost",
        "http://",
        "http://[::1",
        "http://a b",
        "http://h:port",
        "http://h:99999",
        "ftp://h",
        "http://\0",
    ],
)
def test_a_host_that_is_none_is_refused(loop: Path, host: str) -> None:
    with pytest.raises(Refused, match="http://localhost:8888"):
        submit(loop, Server(host), "", as_json=False)


def test_a_password_in_the_host_is_refused_and_not_repeated(loop: Path) -> None:
    with pytest.raises(Refused) as refused:
        submit(loop, Server("http://me:hush@127.0.0.1:1"), "", as_json=False)
    assert "hush" not in str(refused.value)


def test_a_host_that_speaks_no_http_is_said_in_a_sentence(loop: Path) -> None:
    def greet(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1)
            connection.sendall(b"SSH-2.0-OpenSSH\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=greet, args=(listening,))
        thread.start()
        with pytest.raises(TrimtabError, match="is that the URL of a KFP 2 API"):
            submit(loop, Server(f"http://127.0.0.1:{listening.getsockname()[1]}"), "", as_json=False)
        thread.join(timeout=10)


def test_a_host_where_nobody_answers_is_said_in_a_sentence(loop: Path) -> None:
    with pytest.raises(TrimtabError, match="no KFP API answers"):
        submit(loop, Server("http://127.0.0.1:1"), "", as_json=False)


def test_an_api_that_fails_is_said_in_a_sentence(loop: Path) -> None:
    with KfpApi() as api:
        api.failing = 503
        with pytest.raises(TrimtabError, match="503"):
            submit(loop, Server(api.url), "", as_json=False)


def test_a_profile_and_a_token(loop: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with KfpApi(multi_user=True) as api:
        api.token = "secret"
        with pytest.raises(TrimtabError, match=r"401.*audience pipelines\.kubeflow\.org"):
            submit(loop, Server(api.url), "", as_json=False)
        with pytest.raises(TrimtabError, match="400"):
            submit(loop, Server(api.url, "", tmp_path / "token"), "", as_json=False)
        submit(loop, Server(api.url, "team-a", tmp_path / "token"), "", as_json=False)
        with pytest.raises(Refused, match=r"--token-file .*nowhere: there is no such file"):
            submit(loop, Server(api.url, "team-a", tmp_path / "nowhere"), "", as_json=False)
    (run,) = api.runs.values()
    assert run["namespace"] == "team-a"
