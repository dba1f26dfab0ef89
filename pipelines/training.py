"""Train one version: from rows as known at a time to a judged, registered bundle."""

from typing import NamedTuple

from kfp import dsl

from trimtab.components.analyse import analyse
from trimtab.components.features import features
from trimtab.components.ingest import ingest
from trimtab.components.register import register
from trimtab.components.report import report
from trimtab.components.split import split
from trimtab.components.train import train
from trimtab.components.validate import validate
from trimtab.pipelines.stores import with_stores


@dsl.pipeline(name="training-pipeline", description="Train, judge and register one version of a ModelLoop's model.")
def training_pipeline(
    loop: str,
    as_of: str = "",
    predictions: str = "",
    labels: str = "",
    champion: str = "",
    champion_digest: str = "",
    tracking_uri: str = "",
    artifact_root: str = "",
    report_as: str = "",
) -> NamedTuple("Outputs", version=str, digest=str, bundle=str, verdict=str, evidence=str):
    """Train on what was known at `as_of`.

    Args:
        loop: The ModelLoop document, as YAML or JSON text.
        as_of: ISO 8601 time; nothing that became known later is seen. Empty: now.
        predictions: Folder or s3:// URI of the prediction log; empty: do not learn from served rows.
        labels: Folder or s3:// URI of the label log.
        champion: Folder or URI of the champion's bundle, to compare with; empty: none.
        champion_digest: The digest that the registry vouches for.
        tracking_uri: MLflow's tracking URI.
        artifact_root: Where MLflow keeps bundles; empty: the server's own place.
        report_as: Key under which the outputs are said in MLflow, as Kubeflow Pipelines shows them to no program.
    """
    rows = ingest(loop=loop, as_of=as_of, predictions=predictions, labels=labels)
    rows.set_caching_options(False)  # the source may have changed though its path has not
    checked = validate(loop=loop, rows=rows.outputs["rows"])
    parts = split(loop=loop, rows=rows.outputs["rows"]).after(checked)
    columns = features(loop=loop, contract=checked.outputs["contract"], train=parts.outputs["train"])
    fitted = train(loop=loop, transform=columns.outputs["transform"], train=parts.outputs["train"])
    fitted.set_retry(num_retries=1)
    judged = analyse(
        loop=loop,
        as_of=as_of,
        champion=champion,
        champion_digest=champion_digest,
        tracking_uri=tracking_uri,
        model_digest=fitted.outputs["Output"],
        contract=checked.outputs["contract"],
        transform=columns.outputs["transform"],
        model=fitted.outputs["model"],
        train=parts.outputs["train"],
        holdout=parts.outputs["holdout"],
    )
    stored = register(
        loop=loop,
        digest=judged.outputs["digest"],
        tracking_uri=tracking_uri,
        artifact_root=artifact_root,
        bundle=judged.outputs["bundle"],
    )
    stored.set_caching_options(False)  # it writes to the registry: never skipped
    with_stores(rows, checked, parts, columns, fitted, judged, stored)
    with dsl.If(report_as != "", name="asked-to-report"):
        told = report(
            key=report_as,
            tracking_uri=tracking_uri,
            verdict=judged.outputs["verdict"],
            version=stored.outputs["version"],
            digest=judged.outputs["digest"],
            bundle=stored.outputs["bundle_path"],
            evidence=judged.outputs["evidence"],
        )
        told.set_caching_options(False)
        with_stores(told)
    outputs = NamedTuple("Outputs", version=str, digest=str, bundle=str, verdict=str, evidence=str)
    return outputs(
        version=stored.outputs["version"],
        digest=judged.outputs["digest"],
        bundle=stored.outputs["bundle_path"],
        verdict=judged.outputs["verdict"],
        evidence=judged.outputs["evidence"],
    )
