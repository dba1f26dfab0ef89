"""Every chart with every switch: Helm takes it, Kubernetes would, and no pod may do more than it must."""

from __future__ import annotations

import json
import runpy
from typing import Any

import pytest
from rendering import NO_HELM, ROOT, by_name, helm, helms, invalid, pod_specs, refusal, rendered, unrestricted
from switches import CASES, SWITCHES, WRONG_CASES

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
NAMED = {chart: next(iter(cases.values())) for chart, cases in SWITCHES.items()}
VERSIONS = [f"1.{minor}" for minor in range(25, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]


def test_schemas_and_readmes_are_fresh() -> None:
    assert runpy.run_path(str(ROOT / "helm/generate.py"))["main"](["--check"]) == 0


@pytest.mark.parametrize("chart", SWITCHES)
def test_lint(executable: str, chart: str) -> None:
    done = helm(executable, "lint", "--strict", str(ROOT / "helm" / chart), "--namespace", "models")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("chart", "switch"), CASES)
def test_every_helm_renders_the_same(chart: str, switch: str) -> None:
    """So what holds for the objects of one, which is judged below, holds for those of the other."""
    if not helms():
        pytest.skip(NO_HELM)
    first, *others = (by_name(rendered(executable, chart, SWITCHES[chart][switch])) for executable in helms())
    assert all(other == first for other in others)


@pytest.mark.parametrize(("chart", "switch"), CASES)
def test_kubernetes_takes_it_oldest_and_newest(a_helm: str, chart: str, switch: str) -> None:
    objects = rendered(a_helm, chart, SWITCHES[chart][switch])
    assert objects
    for version in (VERSIONS[0], VERSIONS[-1]):
        wrong = {f"{one['kind']}/{one['metadata']['name']}": invalid(one, version) for one in objects}
        assert not {name: said for name, said in wrong.items() if said}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("chart", SWITCHES)
def test_every_version_takes_the_defaults(a_helm: str, chart: str, version: str) -> None:
    for one in rendered(a_helm, chart, next(iter(SWITCHES[chart].values()))):
        assert invalid(one, version) == []


@pytest.mark.parametrize(("chart", "switch"), CASES)
def test_every_pod_is_restricted(a_helm: str, chart: str, switch: str) -> None:
    for name, pod in pod_specs(rendered(a_helm, chart, SWITCHES[chart][switch])):
        assert unrestricted(pod) == [], name


@pytest.mark.parametrize(("chart", "switch"), CASES)
def test_names_are_once_and_short_and_namespaces_are_said(a_helm: str, chart: str, switch: str) -> None:
    objects = rendered(a_helm, chart, SWITCHES[chart][switch])
    named = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(named) == len(set(named))
    for kind, namespace, name in named:
        assert len(name) <= 63, name
        assert namespace or kind in ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"), (kind, name)


@pytest.mark.parametrize(("chart", "switch"), CASES)
def test_selectors_find_their_pods(a_helm: str, chart: str, switch: str) -> None:
    """A Service, a policy or a budget that chooses no pod is a mistake that nothing else tells."""
    objects = rendered(a_helm, chart, SWITCHES[chart][switch])
    pods = [one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] == "Deployment"]
    pods += [
        one["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        for one in objects
        if one["kind"] == "CronJob"
    ]
    for one in objects:
        wanted: Any = None
        if one["kind"] == "Service":
            wanted = one["spec"]["selector"]
        elif one["kind"] in ("PodDisruptionBudget", "Deployment"):
            wanted = one["spec"]["selector"]["matchLabels"]
        elif one["kind"] == "NetworkPolicy":
            wanted = one["spec"]["podSelector"].get("matchLabels", {})
        if wanted is not None and pods:
            assert any(wanted.items() <= labels.items() for labels in pods), one["metadata"]["name"]


@pytest.mark.parametrize(("chart", "values", "said"), WRONG_CASES)
def test_a_wrong_value_is_refused_with_its_name(executable: str, chart: str, values: dict[str, Any], said: str) -> None:
    assert said in refusal(executable, chart, values)


@pytest.mark.parametrize("name", ["1orders", "orders.v2"])
@pytest.mark.parametrize("chart", SWITCHES)
def test_a_name_that_no_service_may_have_is_refused(executable: str, chart: str, name: str) -> None:
    """Helm takes it as a release's name, and the API server would refuse half of the objects."""
    given = [f"--set-json={key}={json.dumps(value)}" for key, value in NAMED[chart].items()]
    done = helm(executable, "template", name, str(ROOT / "helm" / chart), *given)
    assert done.returncode != 0
    assert "begin with a letter (DNS-1035): choose another name for the release" in done.stderr
