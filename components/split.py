"""Tell training rows and hold-out rows apart."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def split(
    loop: str, rows: dsl.Input[dsl.Dataset], train: dsl.Output[dsl.Dataset], holdout: dsl.Output[dsl.Dataset]
) -> None:
    """Split as `data.split` says."""
    import pandas as pd

    from trimtab.components.reading import document
    from trimtab.stages.split import split as divide

    spec = document(loop).spec
    known, held = divide(pd.read_parquet(rows.path), spec.data.split, spec.data, spec.training.seed)
    known.to_parquet(train.path, index=False)
    held.to_parquet(holdout.path, index=False)
    print(f"{len(known)} training rows, {len(held)} hold-out rows by {spec.data.split.by}")
