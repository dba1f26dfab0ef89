"""The registry contract over every adapter, and registering in MLflow on SQLite."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.registry.bundles import Bundles
from trimtab.adapters.registry.memory import MemoryRegistry
from trimtab.adapters.registry.mlflow import MlflowRegistry
from trimtab.adapters.registry.mlflow_stores import OpenStores
from trimtab.errors import TrimtabError
from trimtab.ports.registry import RegisteredVersion
from trimtab.stages import bundle
from trimtab.stages import register as registering
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle
from trimtab.testing.registries import RegistrySuite


class TestMemory(RegistrySuite):
    @pytest.fixture
    def versions(self, tmp_path: Path) -> list[RegisteredVersion]:
        return [RegisteredVersion("m", str(n), f"sha256:{n}", tmp_path, {"verdict": "pass", "n": n}) for n in (1, 2)]

    @pytest.fixture
    def registry(self, versions: list[RegisteredVersion]) -> MemoryRegistry:
        found = MemoryRegistry()
        for one in versions:
            found.add(one)
        return found

    def alias(self, registry: Any, name: str, alias: str) -> str | None:
        return registry.aliases.get((name, alias))


@dataclass(frozen=True)
class Store:
    """One MLflow store for all tests (a new one takes seconds); its folder's name is as odd as a path may be."""

    folder: Path
    made: tuple[MadeBundle, ...]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        return self.folder / "arti facts%20é#1"

    def register(self, made: MadeBundle, name: str | None = None, **parameters: Any) -> str:
        manifest, evaluation = made.load().manifest, bundle.frames(made.folder, made.digest)[2]
        manifest = manifest.model_copy(update={"name": name or manifest.name})
        place = made.folder, made.digest, manifest, evaluation, parameters
        return registering.register(*place, self.uri, str(self.artifacts))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    made = tuple(bundles.make(folder / f"bundle-{seed}", n=200, seed=seed) for seed in (1, 2))
    return Store(folder, made)


class TestMlflow(RegistrySuite):
    @pytest.fixture
    def registry(self, store: Store, tmp_path: Path) -> MlflowRegistry:
        return MlflowRegistry(store.uri, tmp_path / "cache")

    @pytest.fixture
    def versions(self, store: Store) -> list[RegisteredVersion]:
        found = []
        for made in store.made:
            evaluation = bundle.frames(made.folder, made.digest)[2]
            evidence = registering.short(evaluation)
            assert {key: evidence[key] for key in ("verdict", "n", "metrics", "champion")} == {
                key: evaluation[key] for key in ("verdict", "n", "metrics", "champion")
            }
            assert evidence["classes"] == ["Chaetodipus", "Dipodomys", "Onychomys"]
            found.append(RegisteredVersion("rodents", store.register(made), made.digest, made.folder, evidence))
        return found

    def alias(self, registry: Any, name: str, alias: str) -> str | None:
        from mlflow.exceptions import MlflowException

        try:
            return str(registering.connect(registry._uri).get_model_version_by_alias(name, alias).version)
        except MlflowException:
            return None


def test_of_many_stores_in_files_only_a_few_stay_open(store: Store, tmp_path: Path) -> None:
    version = store.register(store.made[0])
    file = Path(store.uri.removeprefix("sqlite:///"))
    stores = OpenStores(most_files=2)
    registries = []
    for number in range(6):
        shutil.copy(file, tmp_path / f"{number}.db")
        registries.append(MlflowRegistry(f"sqlite:///{tmp_path / f'{number}.db'}", tmp_path, stores))
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda one: one.version("rodents", version), registries))
    assert {one.digest for one in found} == {store.made[0].digest}
    opened = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.exists()]
    assert sum(one.parent == tmp_path for one in opened) <= 2
    registries[0].set_alias("rodents", "champion", version)  # one that was closed opens anew
    pointed = registering.connect(registries[0]._uri).get_model_version_by_alias("rodents", "champion")
    assert str(pointed.version) == version


def test_threads_that_bring_mlflow_at_the_same_time_all_get_it(tmp_path: Path) -> None:
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor
from trimtab.adapters.registry.mlflow import MlflowRegistry
from trimtab.errors import TrimtabError
def ask(number):
    try:
        MlflowRegistry(f"sqlite:///{sys.argv[1]}/{number % 2}.db", sys.argv[1]).version("m", "1")
    except TrimtabError as error:
        return str(error)
print(*ThreadPoolExecutor(12).map(ask, range(12)), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has no version 1 of m") == 12


def test_the_registered_bundle_is_a_copy_that_the_digest_vouches_for(store: Store, tmp_path: Path) -> None:
    made = store.made[0]
    found = MlflowRegistry(store.uri, tmp_path).version("rodents", store.register(made))
    assert found.bundle != made.folder
    assert store.artifacts in found.bundle.parents
    assert bundle.load(found.bundle, found.digest).manifest == made.load().manifest


def test_the_same_digest_again_is_the_same_version_and_another_is_another(store: Store) -> None:
    first, second = (store.register(made) for made in store.made)
    assert (first, second) == tuple(store.register(made) for made in store.made)
    assert first != second


def test_parameters_metrics_and_versions_are_in_the_run(store: Store, tmp_path: Path) -> None:
    made = bundles.make(tmp_path / "bundle", n=150, seed=9)
    version = store.register(made, "told", depth=3, layers=[1, 2], long="x" * 9000)
    client = registering.connect(store.uri)
    found = client.get_model_version("told", version)
    run = client.get_run(found.run_id)
    assert {key: run.data.params[key] for key in ("depth", "layers")} == {"depth": "3", "layers": "[1, 2]"}
    assert len(run.data.params["long"]) == 500
    evaluation = bundle.frames(made.folder, made.digest)[2]
    assert run.data.metrics["accuracy"] == evaluation["metrics"]["accuracy"]["value"]
    assert run.info.status == "FINISHED"
    manifest = made.load().manifest
    assert found.tags["trimtab.data_version"] == manifest.data_version
    assert found.tags["trimtab.code_version"] == manifest.code_version
    assert json.loads(found.tags["trimtab.evidence"])["n"] == evaluation["n"]


@pytest.mark.parametrize("name", ["a", "0-1", "x" * 63, "with space", "per%cent", "ünïcode", "quote'd"])
def test_loops_of_odd_names_are_registered_or_refused_in_words(store: Store, tmp_path: Path, name: str) -> None:
    try:
        version = store.register(store.made[0], name)
    except TrimtabError as error:
        assert name == "quote'd", error  # noqa: PT017 - a loop's name is a DNS label: only MLflow itself may say no
        return
    found = MlflowRegistry(store.uri, tmp_path).version(name, version)
    assert (found.version, found.digest) == ("1", store.made[0].digest)
    assert bundle.verify(found.bundle, found.digest)
    assert store.register(store.made[0], name) == "1"


def test_registering_one_digest_at_the_same_time_makes_one_version(store: Store) -> None:
    made = store.made[0]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: store.register(made, "crowd"), range(4)))
    assert len(set(found)) == 1
    client = registering.connect(store.uri)
    left = client.search_model_versions("name = 'crowd'")
    assert [str(one.version) for one in left] == [found[0]]


def test_different_digests_at_the_same_time_are_different_versions(store: Store) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda made: store.register(made, "pair"), store.made))
    assert sorted(found) == ["1", "2"]


def test_a_version_that_trimtab_did_not_register_is_not_loaded(store: Store, tmp_path: Path) -> None:
    client = registering.connect(store.uri)
    client.create_registered_model("foreign")
    client.create_model_version("foreign", str(tmp_path))
    with pytest.raises(TrimtabError, match="has no digest: trimtab did not register it"):
        MlflowRegistry(store.uri, tmp_path).version("foreign", "1")


def test_a_store_that_cannot_be_reached_is_told(store: Store, tmp_path: Path) -> None:
    made = store.made[0]
    manifest, evaluation = made.load().manifest, bundle.frames(made.folder, made.digest)[2]
    with pytest.raises(TrimtabError, match=r"could not be registered at sqlite:////dev/null/all\.db"):
        registering.register(made.folder, made.digest, manifest, evaluation, {}, "sqlite:////dev/null/all.db", "")


@pytest.mark.parametrize("uri", ["s3://bucket/bundle", "mlflow-artifacts:/1/ab/artifacts/bundle"])
def test_a_download_that_was_broken_off_is_never_taken_for_a_bundle(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    made, broken = store.made[0], [True]

    def download(artifact_uri: str, dst_path: str, tracking_uri: str) -> str:
        target = Path(dst_path) / "bundle"
        shutil.copytree(made.folder, target)
        if broken:
            broken.clear()
            (target / bundle.MODEL).unlink()
            raise MlflowException("connection lost")
        return str(target)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    brought = Bundles(tmp_path / "cache", "http://mlflow:5000")
    with pytest.raises(TrimtabError, match="could not be brought here: connection lost"):
        brought.local(uri, made.digest)
    for _ in range(2):
        found = brought.local(uri, made.digest)
        assert bundle.verify(found, made.digest)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made.digest.replace(":", "-")]


def test_a_version_says_where_the_store_keeps_its_bundle(store: Store, tmp_path: Path) -> None:
    found = MlflowRegistry(store.uri, tmp_path).version("rodents", store.register(store.made[0]))
    assert found.uri.startswith("file:///")
    assert Bundles(tmp_path).local(found.uri, found.digest) == found.bundle
