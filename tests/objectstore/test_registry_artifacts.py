"""Bundles in an S3-compatible store, by MLflow's own artifact root: checked after a download, kept only if whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_process import KEYS, S3Server

from trimtab.adapters.registry.mlflow import MlflowRegistry
from trimtab.errors import ArtifactCorrupt, TrimtabError
from trimtab.stages import bundle, register
from trimtab.stages.objects import Objects, Place, place
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    return bundles.make(tmp_path_factory.mktemp("made") / "bundle", n=200)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def _register(made: MadeBundle, tracking: str, bucket: str) -> tuple[str, str]:
    """The name and version; each bucket has a model of its own."""
    manifest, evaluation = made.load().manifest, bundle.frames(made.folder, made.digest)[2]
    manifest = manifest.model_copy(update={"name": bucket})
    root = f"s3://{bucket}/artifacts"
    return bucket, register.register(made.folder, made.digest, manifest, evaluation, {}, tracking, root)


def _stored(bucket: str, name: str) -> Place:
    (found,) = (one for one, _ in Objects().under(place(f"s3://{bucket}/artifacts")) if one.key.endswith(f"/{name}"))
    return found


def test_a_bundle_goes_to_the_store_and_comes_back_whole(
    made: MadeBundle, tracking: str, bucket: str, tmp_path: Path
) -> None:
    named = _register(made, tracking, bucket)
    assert _register(made, tracking, bucket) == named
    registry = MlflowRegistry(tracking, tmp_path / "cache")
    found = registry.version(*named)
    assert found.bundle.parent == tmp_path / "cache"
    assert bundle.load(found.bundle, found.digest).manifest == made.load().manifest
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [made.digest.replace(":", "-")]


def test_once_brought_here_the_store_is_not_asked_again(
    made: MadeBundle, tracking: str, bucket: str, tmp_path: Path, s3: S3Server
) -> None:
    named = _register(made, tracking, bucket)
    MlflowRegistry(tracking, tmp_path).version(*named)
    s3.gate.shut()
    try:
        found = MlflowRegistry(tracking, tmp_path).version(*named)
        assert bundle.verify(found.bundle, found.digest)
    finally:
        s3.gate.open()


@pytest.mark.parametrize("name", [bundle.MODEL, bundle.MANIFEST])
def test_a_bundle_that_was_changed_in_the_store_is_refused_and_not_kept(
    made: MadeBundle, tracking: str, bucket: str, tmp_path: Path, s3: S3Server, name: str
) -> None:
    named = _register(made, tracking, bucket)
    where = _stored(bucket, name)
    content = Objects().read(where)
    s3.put(where.path, content[:-1] + bytes([content[-1] ^ 1]))
    registry = MlflowRegistry(tracking, tmp_path)
    for _ in range(2):
        with pytest.raises(ArtifactCorrupt, match=r"what is stored at s3://.* is not what was registered"):
            registry.version(*named)
    assert list(tmp_path.iterdir()) == []
    s3.put(where.path, content)
    assert bundle.verify(registry.version(*named).bundle, made.digest)


def test_a_bundle_that_is_gone_from_the_store_is_told(
    made: MadeBundle, tracking: str, bucket: str, tmp_path: Path, s3: S3Server
) -> None:
    named = _register(made, tracking, bucket)
    for file in made.folder.iterdir():
        s3.delete(_stored(bucket, file.name).path)
    with pytest.raises(TrimtabError, match=r"could not be brought here|not what was registered"):
        MlflowRegistry(tracking, tmp_path).version(*named)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_was_damaged_is_brought_again(
    made: MadeBundle, tracking: str, bucket: str, tmp_path: Path
) -> None:
    named = _register(made, tracking, bucket)
    found = MlflowRegistry(tracking, tmp_path).version(*named)
    (found.bundle / bundle.MODEL).write_bytes(b"damaged")
    again = MlflowRegistry(tracking, tmp_path).version(*named)
    assert bundle.verify(again.bundle, made.digest)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_store_that_is_down_is_told_when_it_is_read_and_when_it_is_written(
    made: MadeBundle, tracking: str, bucket: str, tmp_path: Path, s3: S3Server
) -> None:
    named = _register(made, tracking, bucket)
    other = bundles.make(tmp_path / "other", n=200, seed=7)
    s3.gate.shut()
    try:
        with pytest.raises(TrimtabError, match=r"s3://.* could not be brought here") as reading:
            MlflowRegistry(tracking, tmp_path / "cache").version(*named)
        with pytest.raises(TrimtabError, match="could not be registered") as writing:
            _register(other, tracking, bucket)
    finally:
        s3.gate.open()
    for caught in (reading, writing):
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    assert _register(other, tracking, bucket)[1] == "2"  # the one that failed is no version
