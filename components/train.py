"""Fit the estimator."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    loop: str, transform: dsl.Input[dsl.Artifact], train: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model]
) -> str:
    """Fit on the training rows; returns the digest that vouches for the fitted estimator's bytes."""
    from pathlib import Path

    import pandas as pd

    from trimtab.components.reading import document, ended_after
    from trimtab.stages.features import Transform
    from trimtab.stages.fitting import target
    from trimtab.stages.train import fit, save

    found, rows = document(loop), pd.read_parquet(train.path)
    fitted = Transform.from_json(Path(transform.path).read_bytes())
    with ended_after(found.spec.training.timeout, "training.timeout"):
        estimator = fit(found.spec.training, found.spec.scope.problem, fitted.apply(rows), target(found, rows))
    model.metadata["framework"] = found.spec.training.framework
    return save(estimator, Path(model.path))
