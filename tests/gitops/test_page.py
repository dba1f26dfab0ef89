"""docs/gitops.md: its commands run, its document is a right one, its claims name what is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from charts import ROOT, helms

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.adapters.git import Credentials
from trimtab.adapters.servers.collector_deployment import address
from trimtab.loop.home import Home
from trimtab.operator.accepting import LoopObject
from trimtab.operator.bare import BareSettings
from trimtab.operator.following import from_environment
from trimtab.ports.delivery import Served, Wanted, Why
from trimtab.spec.read import check
from trimtab.spec.release import GitOps
from trimtab.testing.kubernetes.server import KubernetesApi

PAGE = (ROOT / "docs" / "gitops.md").read_text()


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_the_repository_of_the_page_takes_a_release(tmp_path: Path) -> None:
    (script,) = _blocks("sh")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=environment, check=True, timeout=60, capture_output=True)
    where = GitOps(repository=f"file://{tmp_path / 'releases.git'}", path="releases/orders")
    git = GitDelivery(tmp_path / "cache", "orders", where, Credentials(), lambda served: f"s3://m/{served.version}")
    assert git.deliver(Wanted(Served("1", "sha256:1", Path("1"))), "", Why()).champion == "1"


def test_the_document_of_the_page_is_taken() -> None:
    text, _ = _blocks("yaml")
    document, problems = check(text.encode())
    assert not problems
    assert document is not None
    assert document.spec.release.delivery == "gitops"


def test_with_the_values_of_the_page_servers_write_where_the_loop_reads() -> None:
    charts = helms()
    loop, values = (yaml.safe_load(text) for text in _blocks("yaml"))
    about = LoopObject(loop["metadata"]["namespace"], loop["metadata"]["name"], "uid")
    place = BareSettings(image="i", claim="trimtab", namespace=about.namespace).place(about)
    flat = {f"predictionLog.{key}": value for key, value in values["predictionLog"].items()}
    champion = {"champion.version": "1", "champion.uri": "s3://m/1", "champion.digest": f"sha256:{'a' * 64}"}
    given = {**champion, **flat, "collector": values["collector"], "router": "envoy"}
    (server,) = [
        pod
        for name, pod in charts.pod_specs(charts.rendered(charts.helms()[-1], "model-release", given))
        if name.startswith("Deployment") and any("--log-dir" in text for text in pod["containers"][0].get("args", ()))
    ]
    (volume,) = [one for one in server["volumes"] if one["name"] == "log"]
    (mount,) = [one for one in server["containers"][0]["volumeMounts"] if one["name"] == "log"]
    assert volume["persistentVolumeClaim"]["claimName"] == place.claim
    (option,) = [text for text in server["containers"][0]["args"] if text.startswith("--log-dir=")]
    inside = Path(option.removeprefix("--log-dir=")).relative_to(mount["mountPath"])
    assert place.root / mount["subPath"] / inside == Home(place.home).predictions
    assert values["collector"] == address(place)


def test_a_repository_secret_of_argo_cd_is_read(tmp_path: Path) -> None:
    (line,) = [block for block in _blocks("console") if "create secret" in block]
    for key, value in re.findall(r"--from-literal=(\w+)=(\S+)", line.replace("\\\n", " ")):
        (tmp_path / key).write_text(value.strip('"'))
    found = Credentials.read(tmp_path)
    assert (found.url, found.username, found.password) == ("https://git.example/acme", "trimtab", "$TOKEN")
    found.check("https://git.example/acme/releases.git")


def _loop_namespace() -> str:
    return str(yaml.safe_load(_blocks("yaml")[0])["metadata"]["namespace"])


def test_secret_operator_loop_and_what_argo_cd_syncs_are_in_one_namespace(tmp_path: Path) -> None:
    kubectl = os.environ.get("TRIMTAB_KUBECTL") or shutil.which("kubectl")
    if not kubectl:
        pytest.skip("no kubectl: put one on PATH or name it in TRIMTAB_KUBECTL")
    (block,) = [block for block in _blocks("console") if "create secret" in block]
    (tmp_path / "kubectl").symlink_to(kubectl)
    (tmp_path / "helm").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/helm-was-told\n')
    (tmp_path / "helm").chmod(0o755)
    with KubernetesApi() as api:
        told = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "KUBECONFIG": str(api.kubeconfig(tmp_path / "config")),
            "TOKEN": "t0ken",
            "HOME": str(tmp_path),
        }
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], env=told, timeout=60, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        (made,) = api.objects(f"/api/v1/namespaces/{_loop_namespace()}/secrets")
    assert set(made["data"]) == {"url", "username", "password"}
    helm = (tmp_path / "helm-was-told").read_text()
    assert f"--namespace {_loop_namespace()} " in helm
    assert f"operator.gitSecrets={{{made['metadata']['name']}}}" in helm
    document, _ = check(_blocks("yaml")[0].encode())
    assert document is not None
    assert document.spec.release.gitops is not None
    assert document.spec.release.gitops.secret == made["metadata"]["name"]
    synced = yaml.safe_load((ROOT / "manifests/gitops/applicationset.yaml").read_text())
    assert synced["spec"]["template"]["spec"]["destination"]["namespace"] == _loop_namespace()
    project = yaml.safe_load((ROOT / "manifests/gitops/project.yaml").read_text())
    assert {one["namespace"] for one in project["spec"]["destinations"]} == {_loop_namespace()}


def test_names_of_files_and_variables_are_those_that_are_read() -> None:
    assert (ROOT / "manifests/gitops/applicationset.yaml").is_file()
    names = set(re.findall(r"`(TRIMTAB_[A-Z_]+)`", PAGE))
    assert names == {"TRIMTAB_PROMETHEUS_URL", "TRIMTAB_GIT_SECRETS", "TRIMTAB_STORAGE_URI"}
    found = from_environment(dict.fromkeys(names, "/x"))
    assert (found.prometheus, str(found.secrets), found.storage_uri) == ("/x", "/x", "/x")


@pytest.mark.parametrize("said", ["kserve-knative", "release.shadow: false", "git revert"])
def test_limits_are_said(said: str) -> None:
    assert said in PAGE
