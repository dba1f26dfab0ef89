"""`trimtab run` and `up` show their versions in Kubeflow Model Registry; away or there, the loop is the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import csv, told, trimtab, until, up

from trimtab.testing.model_registry_api import ModelRegistryApi

pytestmark = [pytest.mark.local, pytest.mark.slow]


def test_versions_of_run_and_up_are_shown_and_caught_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv(tmp_path)
    trimtab(tmp_path, "init", "--label", "genus")
    with ModelRegistryApi() as api:
        monkeypatch.setenv("TRIMTAB_MODEL_REGISTRY_URL", api.url)
        trimtab(tmp_path, "run")  # a short process shows it before it ends
        assert api.properties("registered_models", "rodents")["trimtab.alias.champion"] == "1"
        shown = api.properties("model_versions", "1")
        assert shown["trimtab.digest"].startswith("sha256:")
        assert 0 < shown["metric.accuracy"] <= 1
        (artifact,) = api.those["model_artifacts"].values()
        assert Path(artifact["uri"].removeprefix("file://")).is_dir()
        api.failing = 503
        with up(tmp_path) as running:
            assert running.address  # a registry that is away holds nothing up
            until(lambda: "Kubeflow Model Registry refused" in running.log.read_text())
            told(tmp_path, "retrain")
            until(lambda: told(tmp_path, "status")["candidate"] == "2")
            api.failing = 0
            until(lambda: api.properties("registered_models", "rodents").get("trimtab.alias.challenger") == "2")
        assert [one["name"] for one in api.those["model_versions"].values()] == ["1", "2"]


def test_a_registry_that_is_no_url_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv(tmp_path)
    trimtab(tmp_path, "init", "--label", "genus")
    monkeypatch.setenv("TRIMTAB_MODEL_REGISTRY_URL", "registry:8080")
    for command in ("run", "up"):
        assert "TRIMTAB_MODEL_REGISTRY_URL must be a URL" in trimtab(tmp_path, command, code=2)
