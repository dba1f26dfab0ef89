"""Fit the transform that training and serving share."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def features(
    loop: str,
    contract: dsl.Input[dsl.Artifact],
    train: dsl.Input[dsl.Dataset],
    transform: dsl.Output[dsl.Artifact],
) -> None:
    """Fit on the training rows only."""
    from pathlib import Path

    import pandas as pd

    from trimtab.components.reading import document
    from trimtab.stages.contract import Contract
    from trimtab.stages.features import fit

    rules = Contract.from_json(Path(contract.path).read_bytes())
    fitted = fit(document(loop).spec.features, rules, pd.read_parquet(train.path))
    Path(transform.path).write_text(fitted.to_json())
    print(f"{len(fitted.names)} features of {len(fitted.columns)} columns: {', '.join(fitted.names)}")
