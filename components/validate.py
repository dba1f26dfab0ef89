"""Infer the data contract and check the rows against it."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(
    loop: str, rows: dsl.Input[dsl.Dataset], contract: dsl.Output[dsl.Artifact], anomalies: dsl.Output[dsl.Markdown]
) -> None:
    """Fail with every error found; warnings are in the anomaly list."""
    from pathlib import Path

    import pandas as pd

    from trimtab.components.reading import anomaly_list, document, refuse_errors, warned
    from trimtab.stages.validate import check, infer

    spec = document(loop).spec
    frame = pd.read_parquet(rows.path)
    fitted = infer(frame, spec.data, spec.scope.problem, include=spec.features.include)
    found = check(frame, fitted)
    Path(contract.path).write_text(fitted.to_json())
    Path(anomalies.path).write_text(anomaly_list(found))
    anomalies.metadata.update(warned(found))
    refuse_errors(found)
