"""Look at one window of traffic."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def monitor(
    loop: str,
    now: str,
    predictions: str,
    labels: str,
    bundle: str,
    digest: str,
    tracking_uri: str,
    version: str,
    failures: int,
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> str:
    """Judge the window that ends at `now` (ISO 8601) against the champion's training data; returns JSON."""
    from pathlib import Path

    from trimtab.components.reading import bundle_of, document, moment, window_of
    from trimtab.stages import monitor as stage
    from trimtab.stages import monitoring_report
    from trimtab.stages.bundle import frames, load

    found, at, folder = document(loop), moment(now), bundle_of(bundle, digest, tracking_uri)
    model, (reference, holdout, evaluation) = load(folder, digest), frames(folder, digest)
    columns, classes = model.manifest.columns, model.manifest.classes
    fields = [rule.name for rule in model.contract.features]  # a request holds more than what the model uses
    window = window_of(found, at, predictions, labels, fields, version)
    verdict = stage.monitor(
        found.spec,
        reference,
        holdout,
        window,
        now=at,
        columns=columns,
        classes=classes,
        importance=evaluation["importance"],
        contract=model.contract,
        failed=failures,
    )
    page = monitoring_report.write(
        found.spec, reference, holdout, window, verdict, columns=columns, contract=model.contract
    )
    Path(report.path).write_text(page.html, encoding="utf-8")
    Path(report.path).with_name("report.json").write_text(page.json)
    for name, one in verdict.quality.items():
        metrics.log_metric(name, one.value)
    metrics.log_metric("drift_share", verdict.drift.drift_share)
    print(verdict.sentence)
    return verdict.to_json()
