"""A bundle is believed only byte for byte, and nothing in it runs before that."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from trimtab.errors import ArtifactCorrupt, Refused
from trimtab.stages import bundle, fitting
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle

_AT = datetime(2020, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    return bundles.make(tmp_path_factory.mktemp("made") / "bundle", n=300)


@pytest.fixture
def made(original: MadeBundle, tmp_path: Path) -> MadeBundle:
    """A copy to be damaged."""
    shutil.copytree(original.folder, tmp_path / "bundle")
    return MadeBundle(tmp_path / "bundle", original.digest, original.document, original.holdout)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def refused(made: MadeBundle, said: str) -> None:
    for read in (bundle.verify, bundle.load, bundle.frames):
        with pytest.raises(ArtifactCorrupt, match=said):
            read(made.folder, made.digest)


def test_what_was_written_is_what_is_loaded(made: MadeBundle) -> None:
    manifest, predictor = bundle.verify(made.folder, made.digest), made.load()
    assert manifest == predictor.manifest
    assert (manifest.name, manifest.classes) == ("rodents", ("Chaetodipus", "Dipodomys", "Onychomys"))
    reference, held, evaluation = bundle.frames(made.folder, made.digest)
    assert held["_prediction"].tolist() == predictor.predict(made.holdout).labels.tolist()
    fields = {rule.name for rule in predictor.contract.features}
    assert fields >= set(manifest.columns)
    assert set(reference.columns) == {*fields, "_time", "_label", "_prediction", "_scores"}
    assert evaluation["n"] == len(made.holdout)


def test_frames_and_rows_get_the_same_answers_and_no_rows_get_none(made: MadeBundle) -> None:
    predictor = made.load()
    columns = list(predictor.manifest.columns)
    rows = json.loads(made.holdout[columns].to_json(orient="records"))
    by_frame = predictor.predict(made.holdout)
    by_row = predictor.predict_rows(rows, [time.to_pydatetime() for time in made.holdout["_time"]])
    assert by_frame.labels.tolist() == by_row.labels.tolist()
    assert by_frame.scores.tobytes() == by_row.scores.tobytes()
    for nothing in (predictor.predict(made.holdout[:0]), predictor.predict_rows([], [])):
        assert (len(nothing.labels), nothing.scores.shape) == (0, (0, 3))


@pytest.mark.parametrize("problem", ["classification", "regression"])
def test_the_same_parts_make_the_same_digest_and_others_another(tmp_path: Path, problem: str) -> None:
    first = bundles.make(tmp_path / "first", bundles.document(problem), n=200)
    predictor = first.load()
    reference, held, evaluation = bundle.frames(first.folder, first.digest)

    def again(name: str, **changes: Any) -> str:
        manifest = predictor.manifest.model_copy(update=changes)
        parts = predictor.contract, predictor.transform, predictor.estimator, reference, held, evaluation
        return bundle.write(tmp_path / name, manifest, *parts)

    assert again("second") == again("third") == again("second")
    assert again("fourth", as_of="2021-01-01") != again("third")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["manifest.json", *bundle._FILES])
@pytest.mark.parametrize("damage", ["one bit", "cut", "longer", "empty", "gone", "link", "folder", "pipe"])
def test_any_damage_to_any_file_is_refused_before_anything_is_unpickled(
    made: MadeBundle, name: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made.folder / name
    content = path.read_bytes()
    middle = len(content) // 2
    path.unlink()
    new = {
        "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "cut": content[:-1],
        "longer": content + b"\n",
        "empty": b"",
    }
    if damage in new:
        path.write_bytes(new[damage])
    elif damage == "link":
        (made.folder / "elsewhere").write_bytes(content)
        path.symlink_to(made.folder / "elsewhere")
    elif damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    monkeypatch.setattr(joblib, "load", lambda *_: pytest.fail("it was unpickled"))
    refused(made, name)


def test_a_model_that_would_run_code_does_not_when_it_takes_the_place_of_the_model(
    made: MadeBundle, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    stream = io.BytesIO()
    joblib.dump(Trap(trap), stream)
    for content in (pickle.dumps(Trap(trap)), stream.getvalue()):
        (made.folder / bundle.MODEL).write_bytes(content)
        refused(made, "model.joblib was changed")
        assert not trap.exists()
    # The same with a manifest that vouches for it: the registry's digest does not vouch for the manifest.
    manifest = json.loads((made.folder / bundle.MANIFEST).read_text())
    manifest["files"][bundle.MODEL] = hashlib.sha256(stream.getvalue()).hexdigest()
    (made.folder / bundle.MANIFEST).write_text(json.dumps(manifest))
    refused(made, "is not the one that the registry vouches for")
    assert not trap.exists()
    joblib.load(io.BytesIO(stream.getvalue()))
    assert trap.exists(), "the trap is a real one"


def test_files_swapped_between_names_or_bundles_are_refused(made: MadeBundle, tmp_path: Path) -> None:
    other = bundles.make(tmp_path / "other", n=300, seed=2)
    shutil.copy(other.folder / bundle.MODEL, made.folder / bundle.MODEL)
    refused(made, "model.joblib was changed")
    reference, holdout = made.folder / bundle.REFERENCE, other.folder / bundle.HOLDOUT
    shutil.copy(reference, holdout)
    refused(other, "holdout.parquet was changed")
    shutil.copy(tmp_path / "other" / bundle.MANIFEST, made.folder / bundle.MANIFEST)
    refused(made, "is not the one that the registry vouches for")


def test_an_extra_file_is_never_read_and_a_name_in_the_manifest_is_never_a_path(
    made: MadeBundle, tmp_path: Path
) -> None:
    (made.folder / "sitecustomize.py").write_text("raise SystemExit")
    (made.folder / "secret").symlink_to("/dev/zero")
    assert made.load().manifest == bundle.verify(made.folder, made.digest)
    manifest = json.loads((made.folder / bundle.MANIFEST).read_text())
    manifest["files"] |= {"../../outside": "0" * 64, "/dev/zero": "0" * 64}
    signed = _sign(made, manifest)
    assert bundle.verify(signed.folder, signed.digest).classes == signed.load().manifest.classes
    del manifest["files"][bundle.MODEL]
    refused(_sign(made, manifest), "does not vouch for model.joblib")


def test_a_manifest_that_is_huge_or_of_another_version_is_refused(made: MadeBundle) -> None:
    manifest = json.loads((made.folder / bundle.MANIFEST).read_text())
    refused(_sign(made, {**manifest, "new_field": 1}), "cannot be read by this version of trimtab")
    refused(_sign(made, {**manifest, "name": "x" * (1 << 20)}), "manifest.json is larger than 1048576 bytes")
    with (made.folder / bundle.MANIFEST).open("wb") as file:
        file.truncate(1 << 40)  # a sparse file: read, it would not fit into memory
    refused(made, "manifest.json is larger than")
    with (made.folder / bundle.MANIFEST).open("w") as file:
        file.write("[" * 100_000)
    signed = MadeBundle(made.folder, _digest(made), made.document, made.holdout)
    refused(signed, "cannot be read by this version of trimtab")


def test_a_model_of_a_library_that_is_not_here_is_told(made: MadeBundle) -> None:
    content = b"cno_such_library\nModel\n."  # a pickle's reference to a class
    (made.folder / bundle.MODEL).write_bytes(content)
    manifest = json.loads((made.folder / bundle.MANIFEST).read_text())
    manifest["files"][bundle.MODEL] = hashlib.sha256(content).hexdigest()
    signed = _sign(made, manifest)
    with pytest.raises(ArtifactCorrupt, match=r"model.joblib is intact, but the libraries here cannot read it"):
        bundle.load(signed.folder, signed.digest)


def test_a_folder_that_is_not_there_or_a_digest_that_is_none_is_refused(made: MadeBundle, tmp_path: Path) -> None:
    refused(MadeBundle(tmp_path / "nowhere", made.digest, made.document, made.holdout), "No such file")
    for digest in ("", "sha256:", made.digest.removeprefix("sha256:"), made.digest.upper()):
        refused(MadeBundle(made.folder, digest, made.document, made.holdout), "is not the one")


def test_a_model_that_cannot_do_without_a_number_is_refused_before_it_serves(tmp_path: Path) -> None:
    sections: dict[str, Any] = {
        "features": {"numeric": {"impute": "none"}},
        "training": {"estimator": "LogisticRegression", "parameters": {"max_iter": 2000}},
    }
    with pytest.raises(
        Refused, match=r"impute: none leaves weight, hindfoot, plot missing .* LogisticRegression cannot"
    ):
        bundles.make(tmp_path / "bundle", bundles.document(**sections), n=200)
    data = bundles.document().spec.data.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    never = {name: {"maxMissingShare": 0} for name in ("weight", "hindfoot", "plot")}
    whole = bundles.document(**sections, data={**data, "contract": never})
    assert bundles.make(tmp_path / "bundle", whole, n=200).load().predict_rows(
        [{"weight": 44.0, "hindfoot": 26.0, "plot": 3}], [_AT]
    ).labels.tolist() == ["Dipodomys"]


def test_the_champion_answers_rows_that_have_lost_a_column(made: MadeBundle) -> None:
    predictor, held = made.load(), made.holdout
    lost = predictor.predict(held.drop(columns=["plot"]))
    assert lost.labels.tolist() == predictor.predict(held.assign(plot=None)).labels.tolist()
    assert len(lost.labels) == len(held)


def test_importance_is_of_what_the_model_uses(tmp_path: Path) -> None:
    made = bundles.make(tmp_path / "bundle")
    found = bundle.frames(made.folder, made.digest)[2]["importance"]
    assert set(found) == {"weight", "hindfoot", "sex", "plot"}
    assert found["weight"] > 0.1 > found["sex"]


def test_the_data_version_is_of_the_rows(made: MadeBundle) -> None:
    rows = made.holdout
    assert fitting.data_version(rows) == fitting.data_version(rows.copy())
    changed = rows.assign(weight=rows["weight"].where(rows.index > 0, 1e-9))
    assert fitting.data_version(changed) != fitting.data_version(rows)
    assert fitting.data_version(rows[:-1]) != fitting.data_version(rows)
    assert fitting.data_version(rows.rename(columns={"weight": "mass"})) != fitting.data_version(rows)


def test_labels_are_answered_as_text_whatever_their_type() -> None:
    document = bundles.document()
    for values in ([1, 0, 1], [True, False, True], ["x", "y", "x"]):
        found = fitting.target(document, pd.DataFrame({"genus": values}))
        assert found.dtype == object
        assert found.tolist() == [str(value) for value in values]
    numbers = fitting.target(bundles.document("regression"), pd.DataFrame({"weight": ["1.5", "2"]}))
    assert numbers.dtype == np.float64
    assert numbers.tolist() == [1.5, 2.0]


def _digest(made: MadeBundle) -> str:
    return f"sha256:{hashlib.sha256((made.folder / bundle.MANIFEST).read_bytes()).hexdigest()}"


def _sign(made: MadeBundle, manifest: dict[str, Any]) -> MadeBundle:
    """The bundle with this manifest, as if the registry vouched for it."""
    (made.folder / bundle.MANIFEST).write_text(json.dumps(manifest))
    return MadeBundle(made.folder, _digest(made), made.document, made.holdout)
