"""Watch one window of traffic."""

from typing import NamedTuple

from kfp import dsl

from trimtab.components.monitor import monitor
from trimtab.components.report import report
from trimtab.pipelines.stores import with_stores


@dsl.pipeline(name="monitoring-pipeline", description="Compare a window of traffic with the champion's training data.")
def monitoring_pipeline(
    loop: str,
    now: str,
    predictions: str,
    labels: str,
    bundle: str,
    digest: str,
    version: str = "",
    failures: int = 0,
    tracking_uri: str = "",
    report_as: str = "",
) -> NamedTuple("Outputs", verdict=str):
    """Judge the window that ends at `now`.

    Args:
        loop: The ModelLoop document, as YAML or JSON text.
        now: ISO 8601 time at which the window ends; nothing that became known later is seen.
        predictions: Folder or s3:// URI of the prediction log.
        labels: Folder or s3:// URI of the label log.
        bundle: Folder or URI of the champion's bundle.
        digest: The digest that the registry vouches for.
        version: The champion's version; empty: quality is that of all versions.
        failures: Requests of the window that got no answer from it, which no log knows of.
        tracking_uri: MLflow's tracking URI; only `report_as` and a bundle in the server's own store want it.
        report_as: Key under which the verdict is said in MLflow, as Kubeflow Pipelines shows it to no program.
    """
    watched = monitor(
        loop=loop,
        now=now,
        predictions=predictions,
        labels=labels,
        bundle=bundle,
        digest=digest,
        tracking_uri=tracking_uri,
        version=version,
        failures=failures,
    )
    watched.set_caching_options(False)  # the logs grow
    with dsl.If(report_as != "", name="asked-to-report"):
        told = report(key=report_as, tracking_uri=tracking_uri, verdict=watched.outputs["Output"])
        told.set_caching_options(False)
        with_stores(watched, told)
    outputs = NamedTuple("Outputs", verdict=str)
    return outputs(verdict=watched.outputs["Output"])
