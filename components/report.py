"""Say what a run came to."""

from kfp import dsl

from trimtab.components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    key: str,
    tracking_uri: str,
    verdict: str,
    version: str = "",
    digest: str = "",
    bundle: str = "",
    evidence: str = "",
) -> None:
    """Say the outputs in MLflow under the key of the run, for whoever started it; empty ones are none."""
    from trimtab.stages.reporting import say

    outputs = {"verdict": verdict, "version": version, "digest": digest, "bundle": bundle, "evidence": evidence}
    say(tracking_uri, key, {name: value for name, value in outputs.items() if value})
