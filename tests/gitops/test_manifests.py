"""manifests/gitops by the schemas that Argo CD publishes, and what it would render of a repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import ROOT, helms, rendering
from deliveries import served, step, why

from trimtab.adapters.delivery.gitops import GitDelivery
from trimtab.operator.following import FollowingSettings, from_environment
from trimtab.ports.delivery import Wanted
from trimtab.testing.git_places import Person, Place

FOLDER = ROOT / "manifests" / "gitops"
ROUTERS: dict[str, dict[str, Any]] = {
    "envoy": {},
    "gateway-api": {"gateway": {"name": "infra/public", "marksCopies": True}},
    "kserve-standard": {},
}


def _load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text()))


@pytest.mark.parametrize("name", ["applicationset.yaml", "project.yaml"])
def test_each_object_is_what_argo_cd_s_own_schema_wants(name: str) -> None:
    charts, one = rendering(), _load(name)
    if (one["apiVersion"], one["kind"]) not in charts.custom_schemas():
        pytest.skip(f"Argo CD's schemas are not here ({charts.CRDS})")
    assert charts.invalid(one, "1.30") == []
    broken = {**one, "spec": {**one["spec"], "generator": []}}
    assert charts.invalid(broken, "1.30")
    assert name in _load("kustomization.yaml")["resources"]


def _values(clone: Path, basename: str) -> tuple[str, list[str]]:
    """The release's name and the files of values that exist, as the ApplicationSet names them for a folder."""
    template = _load("applicationset.yaml")["spec"]["template"]["spec"]
    chart, releases = template["sources"]
    assert releases["ref"] == "releases"
    assert (ROOT / chart["path"] / "Chart.yaml").is_file()

    def filled(text: str) -> str:
        found = text.replace("{{.path.basename}}", basename).replace("{{.path.path}}", f"releases/{basename}")
        assert "{{" not in found
        return found.replace("$releases", str(clone))

    files = [filled(one) for one in chart["helm"]["valueFiles"]]
    assert chart["helm"]["ignoreMissingValueFiles"]
    return filled(chart["helm"]["releaseName"]), [one for one in files if Path(one).is_file()]


def _rendered(place: Place, name: str = "new-cluster") -> list[dict[str, Any]]:
    """What Argo CD makes of the repository: always as an installation, with the newest Helm 3 or 4."""
    charts, clone = helms(), Person(place, name).folder
    (generator,) = _load("applicationset.yaml")["spec"]["generators"]
    (pattern,) = [one["path"] for one in generator["git"]["files"]]
    (found,) = clone.glob(pattern)
    release, files = _values(clone, found.parent.name)
    given = [part for file in files for part in ("--values", file)]
    done = charts.helm(
        charts.helms()[-1], "template", release, str(ROOT / "helm/model-release"), "-n", "models", *given
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.mark.parametrize("router", ROUTERS)
def test_every_step_renders_and_is_what_the_project_allows(
    place: Place, writer: Callable[..., GitDelivery], router: str
) -> None:
    person, git, known = Person(place, "ada"), writer(), ""
    allowed = {(one["group"], one["kind"]) for one in _load("project.yaml")["spec"]["namespaceResourceWhitelist"]}
    steps = [Wanted(served("1")), step(0), step(20), Wanted(served("2"))]
    if router != "kserve-standard":  # it has no copies: release.shadow must be false there
        steps.insert(1, Wanted(served("1"), served("2"), 0, 100))
    for number, wanted in enumerate(steps):
        known = git.deliver(wanted, known, why()).known
        person.pull()
        if not number:
            values = {"router": router, "autoscaling": {"enabled": True}, "resources": {}, **ROUTERS[router]}
            person.write("releases/orders/values.yaml", yaml.safe_dump(values))
            person.push("What people decide")
        for one in _rendered(place, f"cluster-{number}"):
            group = one["apiVersion"].rpartition("/")[0]
            assert (group, one["kind"]) in allowed
            assert one["metadata"]["namespace"] == "models"


def test_people_s_values_count_but_not_over_the_loop_s(place: Place, writer: Callable[..., GitDelivery]) -> None:
    writer().deliver(Wanted(served("1")), "", why())
    person = Person(place, "ada")
    person.pull()
    mine = {"champion": {"version": "9", "replicas": 3}, "challenger": {"version": "8"}, "envoy": {"replicas": 1}}
    person.write("releases/orders/values.yaml", yaml.safe_dump(mine))
    person.push("What people decide")
    deployments = {
        one["metadata"]["name"]: one["spec"]["replicas"] for one in _rendered(place) if one["kind"] == "Deployment"
    }
    assert deployments.pop("orders-v1") == 3
    assert set(deployments.values()) == {1}
    assert len(deployments) == 1


@pytest.mark.parametrize(
    ("router", "wanted", "said"),
    [
        ("kserve-standard", Wanted(served("1"), served("2"), 0, 100), "shadow"),
        ("kserve-knative", step(20), "first installation"),
    ],
)
def test_what_the_page_says_does_not_work_does_not(
    place: Place, writer: Callable[..., GitDelivery], router: str, wanted: Wanted, said: str
) -> None:
    charts = helms()
    writer().deliver(wanted, "", why())
    file = Person(place, "ada").folder / "releases/orders/release.yaml"
    chart = str(ROOT / "helm/model-release")
    done = charts.helm(
        charts.helms()[-1], "template", "orders", chart, "--values", str(file), "--set", f"router={router}"
    )
    assert done.returncode != 0
    assert said in done.stderr


def test_the_operator_s_chart_mounts_the_secrets_where_they_are_looked_for() -> None:
    charts = helms()
    rendered = charts.rendered(charts.helms()[-1], "trimtab", {"operator.gitSecrets": ["releases"]})
    (operator,) = [one for one in charts.of_kind(rendered, "Deployment") if one["metadata"]["name"].endswith("trimtab")]
    spec = operator["spec"]["template"]["spec"]
    (volume,) = [one["name"] for one in spec["volumes"] if one.get("secret", {}).get("secretName") == "releases"]
    (mount,) = [one for one in spec["containers"][0]["volumeMounts"] if one["name"] == volume]
    assert mount["mountPath"] == str(FollowingSettings().secrets / "releases")
    assert mount["readOnly"]
    told = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert from_environment({name: value for name, value in told.items() if value}).storage_uri.startswith("pvc://")
