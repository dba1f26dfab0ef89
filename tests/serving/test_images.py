"""Image recipes and the KServe runtime, as far as they can be checked without a container engine or a cluster."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from trimtab.components import IMAGE
from trimtab.serving.kserve.arguments import parse

_ROOT = Path(__file__).parents[2]
_CRDS = _ROOT.parent / "shared" / "crds"
_SERVER, _LIBRARY = _ROOT / "serving/kserve/Dockerfile", _ROOT / "components/Dockerfile"
_RUNTIME: dict[str, Any] = yaml.safe_load((_ROOT / "serving/kserve/runtime.yaml").read_text())
_CONTAINER = _RUNTIME["spec"]["containers"][0]


def _recipe(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) with continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def _all(recipe: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in recipe if name == instruction]


def test_the_base_is_pinned_and_the_last_stage_is_no_root() -> None:
    recipe = _recipe(_LIBRARY)
    bases = _all(recipe, "FROM")
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm( AS build)?", base) for base in bases)
    assert _all(recipe, "USER") == ["65532:65532"]
    last = recipe[max(index for index, (name, _) in enumerate(recipe) if name == "FROM") :]
    assert not [rest for name, rest in last if name == "RUN" and "pip" in rest]
    (installed,) = [rest for name, rest in last if name == "RUN" and "apt-get install" in rest]
    assert "--no-install-recommends git openssh-client " in installed
    assert any("useradd --uid 65532" in rest for rest in _all(last, "RUN"))


def test_the_server_is_the_library_with_another_command() -> None:
    recipe = _recipe(_SERVER)
    assert _all(recipe, "ARG")[0] == f"RUNTIME={IMAGE}"
    assert _all(recipe, "FROM") == ["${RUNTIME}"]
    assert not {"RUN", "COPY", "ADD", "USER"} & {name for name, _ in recipe}
    (entry,) = _all(recipe, "ENTRYPOINT")
    assert json.loads(entry) == ["python", "-m", "trimtab.serving.kserve.server"]


@pytest.mark.parametrize("path", [_SERVER, _LIBRARY], ids=["server", "library"])
def test_an_image_says_what_it_is(path: Path) -> None:
    said = re.findall(r"org\.opencontainers\.image\.(\w+)=", " ".join(_all(_recipe(path), "LABEL")))
    assert {"title", "description", "version", "revision"} <= set(said)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    kept = {line[1:] for line in _LIBRARY.with_name("Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    for rest in _all(_recipe(_LIBRARY), "COPY"):
        *sources, _ = rest.split()
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            assert (_ROOT / source).exists(), source
            assert source in kept


def test_the_images_have_the_names_that_are_used() -> None:
    assert f"-t {IMAGE} ." in _LIBRARY.read_text()
    assert f"-t {_CONTAINER['image']} ." in _SERVER.read_text()
    version = re.search(r'^version = "(.+)"', (_ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    for path in (_SERVER, _LIBRARY):
        assert f'image.version="{version[1]}"' in path.read_text()


_ENGINE = """#!/bin/sh
echo "$0 $*" >> "$CALLS"
[ "$1" != info ]
"""


def _images(folder: Path, *engines: str) -> subprocess.CompletedProcess[str]:
    """`make images` on a machine with these engines; docker's daemon does not answer."""
    for name in engines:
        (folder / name).write_text(_ENGINE)
        (folder / name).chmod(0o755)
    for name in ("bash", "sh", "sed", "git", "dirname", "grep", "sudo"):
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    environment = {"PATH": str(folder), "CALLS": str(folder / "calls"), "PREFIX": "registry.example/ml"}
    command = [str(folder / "bash"), str(_ROOT / ".ci/images"), "--no-cache"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_images_are_built_by_the_engine_that_answers(tmp_path: Path) -> None:
    _images(tmp_path, "docker", "buildah")
    calls = [line.split(" ", 1) for line in (tmp_path / "calls").read_text().splitlines()]
    assert [Path(name).name for name, _ in calls] == ["docker", "buildah", "buildah", "buildah"]
    library, server = calls[1][1], calls[2][1]
    name = "registry.example/ml/trimtab:0.1.0-python3.11"
    assert f"-f components/Dockerfile -t {name} ." in library
    assert f"--build-arg RUNTIME={name} --no-cache -f serving/kserve/Dockerfile" in server


def test_without_an_engine_the_next_step_is_told(tmp_path: Path) -> None:
    ended = _images(tmp_path)
    assert ended.returncode == 1
    assert "apt-get install buildah" in ended.stderr


def test_the_runtimes_arguments_are_the_servers() -> None:
    values = {"{{.Name}}": "desert-rodents", "$(TRIMTAB_VERSION)": "7", "$(TRIMTAB_DIGEST)": f"sha256:{'a' * 64}"}
    given = _CONTAINER["args"]
    for placeholder, value in values.items():
        given = [text.replace(placeholder, value) for text in given]
    found = parse(given)
    assert (found.name, found.version, found.http_port, found.host) == ("desert-rodents", "7", 8080, "0.0.0.0")
    assert {port["containerPort"] for port in _CONTAINER["ports"]} == {found.http_port}
    writable = {mount["mountPath"] for mount in _CONTAINER["volumeMounts"]}
    assert any(found.log_dir.is_relative_to(path) for path in writable)
    with pytest.raises(SystemExit):
        parse(_CONTAINER["args"])  # without a version and a digest it does not start


def test_the_runtime_passes_pod_security_restricted() -> None:
    spec = _RUNTIME["spec"]
    assert not {"hostIPC", "hostPID", "hostNetwork"} & set(spec)
    assert all(set(volume) <= {"name", "emptyDir"} for volume in spec["volumes"])
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] != 0
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all("hostPort" not in port for port in container["ports"])


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The API server drops unknown fields in silence: here they are errors."""
    closed = {key: _closed(value) if isinstance(value, dict) else value for key, value in schema.items()}
    if "properties" in schema:
        closed["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            closed["additionalProperties"] = False
    return closed


@pytest.mark.skipif(not _CRDS.is_dir(), reason="the CRDs are not beside this checkout")
def test_the_runtime_fits_kserves_schema() -> None:
    crd = json.loads((_CRDS / "clusterservingruntimes.serving.kserve.io.json").read_text())
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1alpha1")
    schema = _closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    jsonschema.validate(_RUNTIME["spec"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**_RUNTIME["spec"], "protocolVersion": ["v1"]}, schema)
    assert _RUNTIME["apiVersion"] == f"{crd['spec']['group']}/v1alpha1"
    assert _RUNTIME["kind"] == crd["spec"]["names"]["kind"]
