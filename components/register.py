"""Store the judged bundle as a model version."""

from typing import NamedTuple

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(loop: str, digest: str, tracking_uri: str, artifact_root: str, bundle: dsl.Input[dsl.Model]) -> NamedTuple(
    "Outputs", version=str, bundle_path=str
):
    """Register run, parameters, metrics, bundle and evidence in MLflow; the same digest again is the same version."""
    from collections import namedtuple
    from pathlib import Path

    from trimtab.components.reading import document
    from trimtab.stages import register as registry
    from trimtab.stages.bundle import frames, verify

    folder = Path(bundle.path)
    manifest, (_, _, evaluation) = verify(folder, digest), frames(folder, digest)
    training = document(loop).spec.training
    parameters = {"estimator": manifest.estimator, "seed": training.seed, **training.parameters}
    version = registry.register(folder, digest, manifest, evaluation, parameters, tracking_uri, artifact_root)
    print(f"{manifest.name} version {version}: {evaluation['verdict']}")
    return namedtuple("Outputs", ["version", "bundle_path"])(version, str(folder))
