"""The ModelLoop document: one frozen value for a model product's whole life."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trimtab.spec.data import Data
from trimtab.spec.features import Features
from trimtab.spec.metrics import DEFAULT_METRICS, KNOWN
from trimtab.spec.monitoring import Monitoring
from trimtab.spec.quality import Quality
from trimtab.spec.release import Release
from trimtab.spec.retraining import Retraining
from trimtab.spec.scope import Metric, Scope
from trimtab.spec.section import Section
from trimtab.spec.serving import Serving
from trimtab.spec.training import Training

API_VERSION = "trimtab.dev/v1alpha1"
KIND = "ModelLoop"


class Metadata(Section):
    """The object's name, as Kubernetes has it."""

    name: str = Field(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="The loop's name: at most 63 lower-case letters, digits and dashes (a DNS label).",
    )
    namespace: str | None = Field(None, description="The namespace, on a cluster.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels, on a cluster.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations, on a cluster.")


class LoopSpec(Section):
    """The sections, in the order of a model's life."""

    scope: Scope = Field(description="What the model is for and what was promised.")
    data: Data = Field(description="Where rows come from and what they must look like.")
    features: Features = Field(Features(), description="How columns become numbers.")
    training: Training = Field(Training(), description="Which estimator, on which rows.")
    quality: Quality = Field(Quality(), description="What a version must show before it serves.")
    serving: Serving = Field(Serving(), description="How the model answers.")
    release: Release = Field(Release(), description="How traffic moves to a new version.")
    monitoring: Monitoring = Field(Monitoring(), description="What is watched.")
    retraining: Retraining = Field(Retraining(), description="What starts a new training run.")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The promised metrics, with the problem's defaults where scope names none."""
        if self.scope.metrics:
            return self.scope.metrics
        names = DEFAULT_METRICS[self.scope.problem]
        return tuple(Metric(name=name, kind=KNOWN[name].kind) for name in names)

    @property
    def main_metric(self) -> str:
        """The first model metric of scope: what versions are compared by when nothing else is named."""
        return next(metric.name for metric in self.metrics if metric.kind == "model")


class ModelLoop(Section):
    """One model product, from scope to retraining."""

    api_version: Literal["trimtab.dev/v1alpha1"] = Field(description="The document's version.")
    kind: Literal["ModelLoop"] = Field(description="The document's kind.")
    metadata: Metadata = Field(description="The object's name.")
    spec: LoopSpec = Field(description="The loop.")
