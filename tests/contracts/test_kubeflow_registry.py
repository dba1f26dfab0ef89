"""The registry contract over Kubeflow Model Registry's API, and what of a version people find there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.json_api import ApiError
from trimtab.adapters.registry.bundles import Bundles
from trimtab.adapters.registry.kubeflow import KubeflowRegistry, ModelRegistryClient
from trimtab.errors import ArtifactCorrupt, TrimtabError
from trimtab.ports.registry import RegisteredVersion
from trimtab.stages import bundle
from trimtab.testing import bundles
from trimtab.testing.model_registry_api import ModelRegistryApi
from trimtab.testing.registries import RegistrySuite


@pytest.fixture
def api() -> Iterator[ModelRegistryApi]:
    with ModelRegistryApi() as found:
        yield found


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[RegisteredVersion]:
    """Two real bundles, with evidence longer than one property may be."""
    found = []
    for number in (1, 2):
        made = bundles.make(tmp_path_factory.mktemp("made") / "bundle é#1", n=200, seed=number)
        evaluation = bundle.frames(made.folder, made.digest)[2]
        evidence = {key: evaluation[key] for key in ("verdict", "n", "metrics", "champion")} | {"note": "é" * 1500}
        uri = made.folder.as_uri()
        found.append(RegisteredVersion("rodents", str(number), made.digest, made.folder, evidence, uri))
    return found


def registry_of(api: ModelRegistryApi, cache: Path, **settings: Any) -> KubeflowRegistry:
    return KubeflowRegistry(ModelRegistryClient(api.url, timeout_seconds=2.0, **settings), Bundles(cache))


class TestKubeflow(RegistrySuite):
    @pytest.fixture
    def registry(self, api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path) -> KubeflowRegistry:
        found = registry_of(api, tmp_path)
        for one in versions:
            found.publish(one)
        return found

    @pytest.fixture(autouse=True)
    def look(self, api: ModelRegistryApi) -> None:
        self._api = api

    def alias(self, registry: Any, name: str, alias: str) -> str | None:
        if name not in [one["name"] for one in self._api.those["registered_models"].values()]:
            return None
        found = self._api.properties("registered_models", name).get(f"trimtab.alias.{alias}")
        return None if found is None else str(found)

    def test_all_of_it_comes_back(self, registry: Any, versions: list[RegisteredVersion]) -> None:
        for wanted in versions:
            assert registry.version(wanted.name, wanted.version) == wanted


def test_people_find_digest_verdict_metrics_and_the_bundles_uri(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path
) -> None:
    registry_of(api, tmp_path).publish(replace(versions[0], uri="s3://models/rodents/1/bundle"))
    found = api.properties("model_versions", "1")
    assert found["trimtab.digest"] == versions[0].digest
    assert found["trimtab.verdict"] == versions[0].evidence["verdict"]
    assert found["metric.accuracy"] == versions[0].evidence["metrics"]["accuracy"]["value"]
    (artifact,) = api.those["model_artifacts"].values()
    assert (artifact["artifactType"], artifact["uri"]) == ("model-artifact", "s3://models/rodents/1/bundle")
    assert [one["state"] for those in api.those.values() for one in those.values()] == ["LIVE"] * 3


def test_published_again_it_is_only_looked_at(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path
) -> None:
    registry_of(api, tmp_path).publish(versions[0])
    before = json.dumps(api.those)
    api.calls.clear()
    registry_of(api, tmp_path).publish(versions[0])
    assert {method for method, _ in api.calls} == {"GET"}
    assert json.dumps(api.those) == before


@pytest.mark.parametrize("kind", ["before", "after"])
@pytest.mark.parametrize("path", ["registered_models", "model_versions", "model_versions/2/artifacts"])
def test_what_was_broken_off_is_finished_by_the_next_try(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path, path: str, kind: str
) -> None:
    api.cuts["POST", path] = (kind, 1)
    registry = registry_of(api, tmp_path)
    with pytest.raises(ApiError, match="does not answer"):
        registry.publish(versions[0])
    registry.publish(versions[0])
    assert [len(those) for those in api.those.values()] == [1, 1, 1]
    assert registry.version("rodents", "1") == versions[0]


def test_several_that_publish_at_once_make_one(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path
) -> None:
    """Each looks before any of them makes: all but one are answered 409."""
    gate, errors = threading.Barrier(4, timeout=10), []

    class Together(ModelRegistryClient):
        def post(self, path: str, body: Any = None, query: Any = None) -> Any:
            gate.wait()
            return super().post(path, body, query)

    def publish() -> None:
        try:
            KubeflowRegistry(Together(api.url), Bundles(tmp_path)).publish(versions[0])
        except TrimtabError as error:
            errors.append(error)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert [len(those) for those in api.those.values()] == [1, 1, 1]
    assert len([call for call in api.calls if call[0] == "POST"]) == 12


def test_a_version_with_other_bytes_is_not_written_over(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path
) -> None:
    registry = registry_of(api, tmp_path)
    registry.publish(versions[0])
    with pytest.raises(TrimtabError, match=r"another digest \(sha256:.*took the name. Rename one"):
        registry.publish(replace(versions[1], version="1"))
    assert registry.version("rodents", "1") == versions[0]


def test_what_people_wrote_there_stays(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path
) -> None:
    registry, client = registry_of(api, tmp_path), ModelRegistryClient(api.url)
    registry.publish(versions[0])
    model = next(iter(api.those["registered_models"].values()))
    theirs = {"owner team": {"metadataType": "MetadataStringValue", "string_value": "field"}}
    said = {"customProperties": model["customProperties"] | theirs, "owner": "anna", "state": "ARCHIVED"}
    client.patch(f"registered_models/{model['id']}", said)
    registry.set_alias("rodents", "champion", "1")
    registry.set_alias("rodents", "challenger", "1")
    registry.set_alias("rodents", "challenger", None)
    model = next(iter(api.those["registered_models"].values()))
    assert (model["owner"], model["state"]) == ("anna", "ARCHIVED")
    assert api.properties("registered_models", "rodents") == {
        **{"trimtab.loop": "rodents", "owner team": "field", "trimtab.alias.champion": "1"}
    }


def test_a_bundle_that_was_changed_is_refused(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.artifacts

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", lambda **_: str(versions[1].bundle))
    registry = registry_of(api, tmp_path)
    registry.publish(replace(versions[0], uri="s3://models/bundle"))
    with pytest.raises(ArtifactCorrupt, match="not what was registered"):
        registry.version("rodents", "1")


def test_what_trimtab_did_not_publish_is_not_loaded(api: ModelRegistryApi, tmp_path: Path) -> None:
    client = ModelRegistryClient(api.url)
    model = client.post("registered_models", {"name": "theirs"})
    client.post("model_versions", {"name": "1", "registeredModelId": model["id"]})
    with pytest.raises(TrimtabError, match="has no digest: trimtab did not publish it"):
        registry_of(api, tmp_path).version("theirs", "1")


def test_names_are_names_and_no_patterns(
    api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path
) -> None:
    registry = registry_of(api, tmp_path)
    registry.publish(versions[0])
    for name in ("r%", "rodent_"):
        with pytest.raises(TrimtabError, match="no version"):
            registry.version(name, "1")
    with pytest.raises(TrimtabError, match="no version"):
        registry.version("rodents", "_")


def test_the_token_is_read_anew(api: ModelRegistryApi, versions: list[RegisteredVersion], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    api.token = "one"
    registry = registry_of(api, tmp_path, token_file=tmp_path / "token")
    registry.publish(versions[0])
    api.token = "two"
    with pytest.raises(ApiError, match=r"401.*TRIMTAB_MODEL_REGISTRY_TOKEN_FILE"):
        registry.version("rodents", "1")
    (tmp_path / "token").write_text("two\n")
    assert registry.version("rodents", "1") == versions[0]
    with pytest.raises(ApiError, match="does not answer"):
        registry_of(api, tmp_path, token_file=tmp_path / "nowhere").version("rodents", "1")


def test_a_token_goes_to_no_other_host(api: ModelRegistryApi, tmp_path: Path) -> None:
    class Login(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("location", f"{api.url}{self.path}")
            self.end_headers()

    (tmp_path / "token").write_text("secret")
    with HTTPServer(("127.0.0.1", 0), Login) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(ApiError, match="It sends elsewhere, as login pages do"):
            ModelRegistryClient(url, tmp_path / "token").get("registered_model", {"name": "m"})
        server.shutdown()
    assert api.calls == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("registered_models", {}, 422),
        ("registered_models", {"name": "m", "colour": "red"}, 400),
        ("registered_models", {"name": "m", "customProperties": {"a": {"string_value": "x"}}}, 400),
        ("model_versions", {"name": "1", "registeredModelId": "77"}, 400),
        ("model_versions/77/artifacts", {"artifactType": "model-artifact"}, 404),
        ("model_versions/x/artifacts", {"artifactType": "model-artifact"}, 400),
    ],
)
def test_the_double_refuses_what_the_api_refuses(
    api: ModelRegistryApi, path: str, body: dict[str, Any], status: int
) -> None:
    with pytest.raises(ApiError) as refused:
        ModelRegistryClient(api.url).post(path, body)
    assert refused.value.code == status


def test_the_double_answers_in_pages(api: ModelRegistryApi) -> None:
    client, found, token = ModelRegistryClient(api.url), [], ""
    for name in "abc":
        client.post("registered_models", {"name": name})
    while True:
        page = client.call("GET", "registered_models", {"pageSize": "2", **({"nextPageToken": token} if token else {})})
        found += [one["name"] for one in page["items"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert (found, page["size"]) == (["a", "b", "c"], 1)
