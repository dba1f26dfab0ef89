"""manifests/kind/create with stand-ins for kind, kubectl, helm and docker that note what they are told, and answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CRDS = ROOT.parent / "shared/crds"
sys.path[:0] = [str(ROOT / "tests/helm")]

from rendering import NO_HELM, helms, template  # noqa: E402

TOOL = """#!{python}
import json, os, pathlib, sys
world = pathlib.Path(os.environ["WORLD"])
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
given = sys.stdin.read() if words[-2:] == ["-f", "-"] else ""
with (world / "calls").open("a") as log:
    log.write(json.dumps([name, words, given]) + "\\n")
clusters = world / "clusters"
if (name, words[:2]) == ("kind", ["get", "clusters"]):
    print(clusters.read_text() if clusters.exists() else "")
if (name, words[:2]) == ("kind", ["create", "cluster"]):
    if clusters.exists():
        sys.exit("ERROR: failed to create cluster: node(s) already exist")
    clusters.write_text(words[words.index("--name") + 1])
if "--dry-run=client" in words:
    print("{{apiVersion: v1, kind: Namespace, metadata: {{name: " + words[words.index("namespace") + 1] + "}}}}")
if name == "docker" and words[0] == "save":
    pathlib.Path(words[words.index("-o") + 1]).write_text("an image")
if name == "kind" and words[:2] == ["load", "image-archive"] and not pathlib.Path(words[-1]).exists():
    sys.exit("no such archive")
if name == "docker" and words[0] == "images":
    print("REPOSITORY  TAG")
if os.environ.get("BREAKS") and os.environ["BREAKS"] in " ".join([name, *words]):
    sys.exit("as the test wants it")
"""
Call = tuple[str, list[str], str]


class World:
    """A machine with these tools."""

    def __init__(self, folder: Path, tools: tuple[str, ...] = ("kind", "kubectl", "helm", "docker", "git")) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for name in ("bash", "dirname", "sed", "grep", "mktemp", "rm", "cat", "env"):
            (self.bin / name).symlink_to(shutil.which(name) or name)
        for name in tools:
            (self.bin / name).write_text(TOOL.format(python=sys.executable))
            (self.bin / name).chmod(0o755)

    def make(self, **environment: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": str(self.bin), "WORLD": str(self.folder), "HOME": str(self.folder), **environment}
        command = [str(self.bin / "bash"), str(ROOT / "manifests/kind/create")]
        return subprocess.run(command, env=told, capture_output=True, text=True, timeout=60, check=False)

    def calls(self) -> list[Call]:
        found = self.folder / "calls"
        return [tuple(json.loads(line)) for line in found.read_text().splitlines()] if found.exists() else []

    def said(self, *parts: str) -> list[str]:
        """Calls, as lines, that hold all of these words."""
        lines = [" ".join([name, *words]) for name, words, _ in self.calls()]
        return [line for line in lines if all(part in line for part in parts)]

    def applied(self) -> list[dict[str, Any]]:
        """Every object that was piped into kubectl apply."""
        texts = [given for name, words, given in self.calls() if name == "kubectl" and "apply" in words and given]
        return [one for text in texts for one in yaml.safe_load_all(text) if one]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def versions() -> dict[str, str]:
    lines = (ROOT / "manifests/versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_bare_profile_makes_a_cluster_loads_two_images_and_installs_one_chart(world: World) -> None:
    done = world.make()
    assert done.returncode == 0, done.stderr
    assert len(world.said("kind create cluster", versions()["KIND_NODE"])) == 1
    assert len(world.said("docker build")) == 2
    assert len(world.said("kind load image-archive --name trimtab")) == 2
    (chart,) = world.said("helm upgrade --install")
    assert "--namespace models" in chart
    assert "manifests/kind/bare.yaml" in chart
    assert [one["metadata"]["name"] for one in world.applied()] == ["models"]
    cluster = [line for line in world.said("kubectl") if "--context kind-trimtab" not in line]
    assert cluster == []  # never a cluster that a person happens to be logged in to
    assert all("--kube-context kind-trimtab" in line for line in world.said("helm") if line.startswith("helm"))
    assert "trimtab cluster doctor --context kind-trimtab -n models" in done.stderr


def test_it_may_be_run_again(world: World) -> None:
    assert world.make().returncode == 0
    first = len(world.calls())
    again = world.make()
    assert again.returncode == 0, again.stderr
    assert len(world.said("kind create cluster")) == 1
    assert len(world.calls()) == 2 * first - 1
    verbs = [line for line in world.said("kubectl") if " apply" in line]
    assert all("--server-side --force-conflicts" in line for line in verbs)  # after Helm, too


def test_the_kubeflow_profile_installs_what_its_values_name_with_every_version_pinned(world: World) -> None:
    done = world.make(PROFILE="kubeflow")
    assert done.returncode == 0, done.stderr
    pinned = versions()
    lines = world.said("")
    for name, version in pinned.items():
        told = [line for line in lines if version in line] + [
            str(one) for one in world.applied() if version in str(one)
        ]
        assert told, name
    fetched = [line for line in lines if "https://" in line or "oci://" in line or "github.com" in line]
    assert all(any(version in line for version in pinned.values()) for line in fetched)
    assert world.said("helm", "kserve oci://ghcr.io/kserve/charts/kserve-resources")
    order = [lines.index(world.said(part)[0]) for part in ("cert-manager.yaml", "kserve-crd", "kserve-resources")]
    assert order == sorted(order)
    assert lines[-1].startswith("helm upgrade --install trimtab ")
    made = {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in world.applied()}
    values = yaml.safe_load((ROOT / "manifests/kind/kubeflow.yaml").read_text())
    assert ("Gateway", *values["router"]["gateway"].split("/")) in made
    host = re.match(r"http://(\w+)\.(\w+)\.svc:5000", values["stores"]["trackingUri"])
    assert host is not None
    assert ("Service", host[2], host[1]) in made
    assert values["router"]["prometheusUrl"] == "http://prometheus-operated.monitoring.svc:9090"
    assert any(kind == "Prometheus" and space == "monitoring" for kind, space, _ in made)
    assert ("ClusterServingRuntime", "", "trimtab-kserve") in made
    texts = json.dumps(world.applied())
    assert not re.search(r"\b(VERSION|IMAGE|NAMESPACE)\b", texts)


@pytest.mark.skipif(not CRDS.is_dir(), reason="the published CRDs are not here")
def test_what_the_kubeflow_profile_applies_are_right_objects(world: World) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    assert world.make(PROFILE="kubeflow").returncode == 0
    judged = set()
    for one in world.applied():
        group = one["apiVersion"].partition("/")[0] if "." in one["apiVersion"] else ""
        known = list(CRDS.glob(f"{one['kind'].lower()}s.{group}.json")) if group else []
        if known:
            found = json.loads(known[0].read_text())
            number = one["apiVersion"].partition("/")[2]
            (version,) = [each for each in found["spec"]["versions"] if each["name"] == number]
            jsonschema.validate(one, version["schema"]["openAPIV3Schema"])
        elif not group or group.endswith("k8s.io"):
            if group.startswith("gateway."):
                continue
            validate.validate(one, "1.35", strict=True)
        else:
            continue
        judged.add(one["kind"])
    assert {"Gateway", "ClusterServingRuntime", "Deployment", "ClusterRole", "PersistentVolumeClaim"} <= judged


@pytest.mark.skipif(not helms(), reason=NO_HELM)
@pytest.mark.parametrize("profile", ["bare", "kubeflow"])
def test_the_values_of_a_profile_are_taken_by_the_chart(profile: str) -> None:
    values = yaml.safe_load((ROOT / f"manifests/kind/{profile}.yaml").read_text())
    for helm in helms():
        done = template(helm, "trimtab", values)
        assert done.returncode == 0, done.stderr


def test_a_private_registry_and_images_that_are_there_already(world: World) -> None:
    more = world.folder / "more.yaml"
    more.write_text("imagePullSecrets: [pull]\n")
    done = world.make(PROFILE="kubeflow", PREFIX="registry.acme/ml", BUILD="no", VALUES=str(more))
    assert done.returncode == 0, done.stderr
    assert not world.said("docker build")
    assert len(world.said("docker save", "registry.acme/ml/trimtab")) == 2
    (chart,) = world.said("helm upgrade --install trimtab ")
    assert "--set image.repository=registry.acme/ml/trimtab " in chart
    assert chart.endswith("--set serverImage.repository=registry.acme/ml/trimtab-kserve " + _ends(chart))
    assert f"-f {more}" in chart
    images = re.findall(r'"image": "([^"]*trimtab[^"]*)"', json.dumps(world.applied()))
    assert images
    assert all(image.startswith("registry.acme/ml/trimtab") for image in images)


def _ends(line: str) -> str:
    return line.partition("trimtab-kserve ")[2]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PROFILE": "full"}, "PROFILE is bare or kubeflow, found 'full'"),
        ({"PROFILE": "kubeflow", "NAMESPACE": "ml"}, "found NAMESPACE=ml"),
        ({"ENGINE": "podman"}, "not found: podman"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(
    world: World, environment: dict[str, str], said: str
) -> None:
    done = world.make(**environment)
    assert done.returncode == 1
    assert said in done.stderr
    assert world.calls() == []


def test_tools_that_are_missing_are_named_together(tmp_path: Path) -> None:
    world = World(tmp_path, ("docker",))
    done = world.make(PROFILE="kubeflow")
    assert done.returncode == 1
    assert "not found: kind kubectl helm git." in done.stderr


def test_the_first_failure_ends_it(world: World) -> None:
    done = world.make(PROFILE="kubeflow", BREAKS="kserve-crd")
    assert done.returncode != 0
    assert not world.said("helm upgrade --install trimtab ")
    assert world.make(PROFILE="kubeflow").returncode == 0  # and the next run goes on
    assert len(world.said("kind create cluster")) == 1
