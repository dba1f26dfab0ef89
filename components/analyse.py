"""Judge the version on its hold-out and pack it into a bundle."""

from typing import NamedTuple

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def analyse(
    loop: str,
    as_of: str,
    champion: str,
    champion_digest: str,
    tracking_uri: str,
    model_digest: str,
    contract: dsl.Input[dsl.Artifact],
    transform: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    train: dsl.Input[dsl.Dataset],
    holdout: dsl.Input[dsl.Dataset],
    bundle: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    summary: dsl.Output[dsl.Markdown],
) -> NamedTuple("Outputs", digest=str, verdict=str, evidence=str):
    """Measure, compare with the champion on the same rows, decide pass, fail or insufficient evidence."""
    import json
    from collections import namedtuple
    from pathlib import Path

    import pandas as pd

    from trimtab.components.reading import comparable, document, moment, show_evaluation
    from trimtab.stages import fitting
    from trimtab.stages.code_version import code_version
    from trimtab.stages.contract import Contract
    from trimtab.stages.features import Transform
    from trimtab.stages.train import load

    found, known, held = document(loop), pd.read_parquet(train.path), pd.read_parquet(holdout.path)
    rules = Contract.from_json(Path(contract.path).read_bytes())
    columns = Transform.from_json(Path(transform.path).read_bytes())
    estimator = load(Path(model.path), model_digest)
    code = code_version(found.folder)
    fitted = fitting.assemble(found, rules, columns, estimator, known, moment(as_of).isoformat(), code)
    before, lacking = comparable(champion, champion_digest, tracking_uri)
    evaluation = fitting.judge(found, fitted, held, before, lacking)
    digest = fitting.pack(Path(bundle.path), fitted, held, evaluation)
    show_evaluation(evaluation, metrics, confusion, summary)
    outputs = namedtuple("Outputs", ["digest", "verdict", "evidence"])
    return outputs(digest, evaluation.verdict, json.dumps(evaluation.to_json()))
