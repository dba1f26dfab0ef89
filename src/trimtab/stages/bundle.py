"""The model bundle: a folder whose manifest vouches for every file in it, and whose digest vouches for the manifest.

Nothing in it is unpickled before every byte was checked against the digest that the registry holds.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trimtab.errors import ArtifactCorrupt
from trimtab.stages.contract import Contract
from trimtab.stages.features import Row, Transform

MANIFEST, CONTRACT, TRANSFORM, MODEL = "manifest.json", "contract.json", "transform.json", "model.joblib"
REFERENCE, HOLDOUT, EVALUATION = "reference.parquet", "holdout.parquet", "evaluation.json"
_FILES = (CONTRACT, TRANSFORM, MODEL, REFERENCE, HOLDOUT, EVALUATION)
_LARGEST_MANIFEST = 1 << 20
_LARGEST_FILE = 4 << 30

LabelType = Literal["string", "integer", "boolean", "number"]


class Manifest(BaseModel):
    """What the bundle is. `columns` are the raw columns the model uses; `files` maps each name to its sha256 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    problem: Literal["classification", "regression"]
    label: str
    label_type: LabelType
    classes: tuple[str, ...] | None = None
    columns: tuple[str, ...]
    estimator: str
    created: str
    as_of: str
    data_version: str
    code_version: str
    files: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Prediction:
    """n answers: classes as strings (object) or float64 values; `scores` (n, k) in the order of `classes`."""

    labels: np.ndarray
    scores: np.ndarray | None
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class Predictor:
    """A loaded bundle."""

    manifest: Manifest
    contract: Contract
    transform: Transform
    estimator: Any

    def predict(self, frame: pd.DataFrame) -> Prediction:
        """Answers for a frame of raw columns (and `_time` where time parts are features)."""
        return self._answer(self.transform.apply(frame))

    def predict_rows(self, rows: Sequence[Row], times: Sequence[datetime]) -> Prediction:
        """The same answers for requests' rows at their times."""
        return self._answer(self.transform.apply_rows(rows, times))

    def _answer(self, matrix: np.ndarray) -> Prediction:
        if not len(matrix):
            return self._nothing()
        if self.manifest.problem == "regression":
            return Prediction(np.asarray(self.estimator.predict(matrix), dtype=np.float64), None, None)
        classes = tuple(str(name) for name in self.estimator.classes_)
        if not hasattr(self.estimator, "predict_proba"):
            return Prediction(self.estimator.predict(matrix).astype(object), None, classes)
        scores = np.asarray(self.estimator.predict_proba(matrix), dtype=np.float64)
        labels = np.array(classes, dtype=object)[scores.argmax(axis=1)]
        return Prediction(labels, scores, classes)

    def _nothing(self) -> Prediction:
        """No rows, no answers: estimators refuse to be asked for none."""
        if self.manifest.problem == "regression":
            return Prediction(np.zeros(0), None, None)
        classes = tuple(str(name) for name in self.estimator.classes_)
        scores = np.zeros((0, len(classes))) if hasattr(self.estimator, "predict_proba") else None
        return Prediction(np.zeros(0, dtype=object), scores, classes)


def write(
    folder: Path,
    manifest: Manifest,
    contract: Contract,
    transform: Transform,
    estimator: Any,
    reference: pd.DataFrame,
    holdout: pd.DataFrame,
    evaluation: Mapping[str, Any],
) -> str:
    """Write the bundle in one rename (an old one of that name is replaced); returns its digest."""
    import joblib

    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        (made / CONTRACT).write_text(contract.to_json())
        (made / TRANSFORM).write_text(transform.to_json())
        joblib.dump(estimator, made / MODEL, compress=3)
        reference.to_parquet(made / REFERENCE, index=False)
        holdout.to_parquet(made / HOLDOUT, index=False)
        (made / EVALUATION).write_text(json.dumps(evaluation, allow_nan=False))
        files = {name: _sha256((made / name).read_bytes()) for name in _FILES}
        text = manifest.model_copy(update={"files": files}).model_dump_json(indent=1)
        (made / MANIFEST).write_text(text)
        made.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        made.replace(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)  # already renamed when all went well
    return f"sha256:{_sha256(text.encode())}"


def verify(folder: Path, digest: str) -> Manifest:
    """Check every file against the digest; raises ArtifactCorrupt that says which one differs."""
    return _read(folder, digest)[0]


def load(folder: Path, digest: str) -> Predictor:
    """Check, then load from the very bytes that were checked."""
    import joblib

    manifest, files = _read(folder, digest)
    try:
        estimator = joblib.load(io.BytesIO(files[MODEL]))
    except (ImportError, AttributeError, ValueError, TypeError, KeyError, EOFError) as error:
        raise ArtifactCorrupt(
            f"{folder / MODEL} is intact, but the libraries here cannot read it ({type(error).__name__}: {error}). "
            "Install those it was trained with, or train again"
        ) from error
    return Predictor(manifest, Contract.from_json(files[CONTRACT]), Transform.from_json(files[TRANSFORM]), estimator)


def frames(folder: Path, digest: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Reference rows, hold-out rows and evaluation, checked."""
    _, files = _read(folder, digest)
    evaluation: dict[str, Any] = json.loads(files[EVALUATION])
    return pd.read_parquet(io.BytesIO(files[REFERENCE])), pd.read_parquet(io.BytesIO(files[HOLDOUT])), evaluation


def _read(folder: Path, digest: str) -> tuple[Manifest, dict[str, bytes]]:
    text = _bytes(folder, MANIFEST, _LARGEST_MANIFEST)
    if f"sha256:{_sha256(text)}" != digest:
        raise ArtifactCorrupt(
            f"{folder / MANIFEST} is not the one that the registry vouches for "
            f"(wanted {digest}, found sha256:{_sha256(text)}). Restore the bundle, or train again"
        )
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactCorrupt(f"{folder / MANIFEST} cannot be read by this version of trimtab: {error}") from error
    missing = set(_FILES) - set(manifest.files)
    if missing:
        raise ArtifactCorrupt(f"{folder / MANIFEST} does not vouch for {', '.join(sorted(missing))}. Train again")
    files = {}
    for name in _FILES:  # only these: a name in the manifest never becomes a path
        files[name] = _bytes(folder, name, _LARGEST_FILE)
        if _sha256(files[name]) != manifest.files[name]:
            raise ArtifactCorrupt(
                f"{folder / name} was changed or cut short: its sha256 is not the manifest's. "
                "Restore the bundle, or train again"
            )
    return manifest, files


def _bytes(folder: Path, name: str, most: int) -> bytes:
    """A regular file's bytes: a link could point elsewhere by the time it is read, a pipe would never end."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_size > most:
                what = "no regular file" if found.st_size <= most else f"larger than {most} bytes"
                raise ArtifactCorrupt(f"{folder / name} is {what}. Restore the bundle, or train again")
            return file.read(most + 1)
    except OSError as error:
        raise ArtifactCorrupt(
            f"{folder / name} cannot be read: {error.strerror}. Restore the bundle, or train again"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
