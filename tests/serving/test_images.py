"""Image recipes and the runtimes of KServe and Seldon, as far as they can be checked without an engine."""

import json
import re
import shlex
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trimtab.components import IMAGE
from trimtab.serving import arguments
from trimtab.serving.kserve.arguments import parse

Json = dict[str, Any]
_ROOT = Path(__file__).parents[2]
_CRDS = _ROOT.parent / "shared" / "crds"
_SERVER, _LIBRARY = _ROOT / "serving/kserve/Dockerfile", _ROOT / "components/Dockerfile"
# The rooms whose image holds an environment of its own, and all image recipes.
_OWN = ("mlserver", "seldon", "torchserve", "triton")
_WHOLE = {"library": _LIBRARY, **{room: _ROOT / f"serving/{room}/Dockerfile" for room in _OWN}}
_RECIPES = {**_WHOLE, "kserve": _SERVER}
_RUNTIMES: dict[str, Json] = {
    path.parent.name: yaml.safe_load(path.read_text()) for path in sorted((_ROOT / "serving").glob("*/runtime.yaml"))
}
_SELDON: Json = yaml.safe_load((_ROOT / "serving/seldon/deployment.yaml").read_text())
_SELDON_POD = _SELDON["spec"]["predictors"][0]["componentSpecs"][0]["spec"]
_PODS = {**{room: runtime["spec"] for room, runtime in _RUNTIMES.items()}, "seldon": _SELDON_POD}
_PLACEHOLDERS = {"{{.Name}}": "desert-rodents", "$(TRIMTAB_VERSION)": "7", "$(TRIMTAB_DIGEST)": f"sha256:{'a' * 64}"}


def _recipe(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) with continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def _all(recipe: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in recipe if name == instruction]


def _last_stage(recipe: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return recipe[max(index for index, (name, _) in enumerate(recipe) if name == "FROM") :]


def test_every_room_has_what_a_room_has() -> None:
    rooms = {path.parent.name for path in (_ROOT / "serving").glob("*/server.py")}
    assert rooms == {*_OWN, "kserve"}
    assert set(_PODS) == rooms
    for room in _OWN:
        for name in ("Dockerfile", "Dockerfile.dockerignore", "pinned.txt", "requirements.txt", "README.md"):
            assert (_ROOT / "serving" / room / name).is_file(), f"{room}: {name}"


@pytest.mark.parametrize("name", _WHOLE)
def test_the_base_is_pinned_and_the_last_stage_is_no_root(name: str) -> None:
    recipe = _recipe(_WHOLE[name])
    bases = _all(recipe, "FROM")
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm( AS build)?", base) for base in bases)
    assert _all(recipe, "USER") == ["65532:65532"]
    last = _last_stage(recipe)
    run = _all(last, "RUN")
    assert not [rest for rest in run if "pip" in rest or "gcc" in rest or "build-essential" in rest]
    installed = [rest for rest in run if "apt-get" in rest]
    wanted = {"library": "git openssh-client ", "torchserve": "openjdk-17-jre-headless "}
    assert len(installed) == (name in wanted)
    for rest in installed:
        assert f"install -y --no-install-recommends {wanted[name]}" in rest
        assert rest.endswith("rm -rf /var/lib/apt/lists/*")
    assert any("useradd --uid 65532" in rest for rest in run)
    assert "PYTHONDONTWRITEBYTECODE=1" in " ".join(_all(last, "ENV"))


@pytest.mark.parametrize("room", _OWN)
def test_a_room_of_its_own_installs_what_is_pinned_and_starts_its_server(room: str) -> None:
    recipe = _recipe(_WHOLE[room])
    (install,) = [rest for rest in _all(recipe, "RUN") if "pinned.txt" in rest]
    assert {"--no-deps", "--only-binary", "--without-pip"} <= set(install.split())
    assert json.loads(_all(recipe, "ENTRYPOINT")[0]) == ["python", "-m", f"trimtab.serving.{room}.server"]
    assert _all(recipe, "STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("room", _OWN)
def test_what_is_pinned_is_what_is_required(room: str) -> None:
    pinned = dict(_requirements(room, "pinned.txt"))
    assert all(re.fullmatch(r"==[^*,]+", str(one.specifier)) for one in pinned.values())
    for name, required in _requirements(room, "requirements.txt"):
        assert {one.operator for one in required.specifier} in ({"=="}, {">=", "<"}), f"{name}: both bounds"
        assert required.specifier.contains(_version(pinned[name])), name


@pytest.mark.parametrize("room", _OWN)
def test_a_room_reads_bundles_with_the_libraries_that_wrote_them(room: str) -> None:
    written = dict(_read_requirements(_ROOT / "constraints.txt"))
    pinned = dict(_requirements(room, "pinned.txt"))
    for name in ("scikit-learn", "scipy", "pandas", "joblib", "pydantic", "numpy"):
        if (room, name) != ("triton", "numpy"):  # serving/triton/numpy2_pickles.py
            assert _version(pinned[name]) == _version(written[name]), name


def _requirements(room: str, name: str) -> list[tuple[str, Requirement]]:
    return _read_requirements(_ROOT / "serving" / room / name)


def _read_requirements(path: Path) -> list[tuple[str, Requirement]]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    found = [Requirement(line) for line in lines]
    return [(canonicalize_name(one.name), one) for one in found]


def _version(pinned: Requirement) -> str:
    return str(pinned.specifier).removeprefix("==")


def test_the_server_is_the_library_with_another_command() -> None:
    recipe = _recipe(_SERVER)
    assert _all(recipe, "ARG")[0] == f"RUNTIME={IMAGE}"
    assert _all(recipe, "FROM") == ["${RUNTIME}"]
    assert not {"RUN", "COPY", "ADD", "USER"} & {name for name, _ in recipe}
    (entry,) = _all(recipe, "ENTRYPOINT")
    assert json.loads(entry) == ["python", "-m", "trimtab.serving.kserve.server"]


@pytest.mark.parametrize("name", _RECIPES)
def test_an_image_says_what_it_is(name: str) -> None:
    said = re.findall(r"org\.opencontainers\.image\.(\w+)=", " ".join(_all(_recipe(_RECIPES[name]), "LABEL")))
    assert {"title", "description", "version", "revision"} <= set(said)


@pytest.mark.parametrize("name", _WHOLE)
def test_what_is_copied_is_there_and_not_ignored(name: str) -> None:
    path = _WHOLE[name]
    kept = {line[1:] for line in path.with_name("Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    for rest in _all(_recipe(path), "COPY"):
        *sources, _ = rest.split()
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            assert (_ROOT / source).exists(), source
            assert source.partition("/")[0] in kept


@pytest.mark.parametrize("name", _RECIPES)
def test_the_images_have_the_names_that_are_used(name: str) -> None:
    image = IMAGE if name == "library" else _PODS[name]["containers"][0]["image"]
    version = re.search(r'^version = "(.+)"', (_ROOT / "pyproject.toml").read_text(), re.M)
    assert version
    text = _RECIPES[name].read_text()
    assert f"-t {image} ." in text
    assert f'image.version="{version[1]}"' in text


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
    assert [Path(name).name for name, _ in calls] == ["docker", *["buildah"] * (len(_RECIPES) + 1)]
    library, server, *others = (call for _, call in calls[1:-1])
    name = "registry.example/ml/trimtab:0.1.0-python3.11"
    assert f"-f components/Dockerfile -t {name} ." in library
    assert f"--build-arg RUNTIME={name} --no-cache -f serving/kserve/Dockerfile" in server
    for call in others:
        (room,) = [room for room in _OWN if f"-f serving/{room}/Dockerfile" in call]
        assert f"--no-cache -f serving/{room}/Dockerfile -t registry.example/ml/trimtab-{room}:0.1.0 ." in call
        assert f"--ignorefile serving/{room}/Dockerfile.dockerignore" in call
    assert len(others) == len(_OWN)


def test_without_an_engine_the_next_step_is_told(tmp_path: Path) -> None:
    ended = _images(tmp_path)
    assert ended.returncode == 1
    assert "apt-get install buildah" in ended.stderr


@pytest.mark.parametrize("room", _RUNTIMES)
def test_the_runtimes_arguments_are_the_servers(room: str) -> None:
    container = _RUNTIMES[room]["spec"]["containers"][0]
    given = container["args"]
    for placeholder, value in _PLACEHOLDERS.items():
        given = [text.replace(placeholder, value) for text in given]
    found = _parse(room, given)
    assert (found.name, found.version, found.http_port, found.host) == ("desert-rodents", "7", 8080, "0.0.0.0")
    assert {port["containerPort"] for port in container["ports"]} == {found.http_port}
    scraped = int(_RUNTIMES[room]["spec"]["annotations"]["prometheus.kserve.io/port"])
    assert scraped == getattr(found, "metrics_port", found.http_port)
    writable = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert any(found.log_dir.is_relative_to(path) for path in writable)
    with pytest.raises(SystemExit):
        _parse(room, container["args"])  # without a version and a digest it does not start


def test_seldons_arguments_are_its_servers() -> None:
    container = _SELDON_POD["containers"][0]
    given = [text.replace("$(TRIMTAB_DIGEST)", f"sha256:{'a' * 64}") for text in container["args"]]
    found = _parse("seldon", ["--http-port=9000", *given])  # Seldon's operator names the port in the environment
    assert (found.version, found.host, str(found.bundle)) == ("7", "0.0.0.0", "/mnt/models")


@pytest.mark.parametrize("room", _OWN)
def test_the_command_in_a_rooms_readme_starts_it(room: str) -> None:
    text = (_ROOT / "serving" / room / "README.md").read_text().replace("\\\n", " ")
    (command,) = re.findall(rf"^\S+/python -m trimtab\.serving\.{room}\.server (.+)$", text, re.M)
    given = [f"sha256:{'a' * 64}" if one.startswith("$(") else one for one in shlex.split(command)]
    assert _parse(room, given).http_port == 8085
    assert f".ci/test-runtimes .venv/bin/python .venv-runtimes {room} " in text


def test_the_chart_starts_the_rooms_that_speak_v2_as_it_starts_kserves() -> None:
    runtimes = yaml.safe_load((_ROOT / "helm/model-release/files/runtimes.yaml").read_text())
    values = {**_PLACEHOLDERS, "@MODEL@": "rodents", "@BYTES@": "4096"}
    given = runtimes["kserve"]["args"]
    for placeholder, value in values.items():
        given = [text.replace(placeholder, value) for text in given]
    for room in ("kserve", "mlserver", "triton"):
        assert _parse(room, given).max_body_bytes == 4096


def _parse(room: str, given: list[str]) -> Namespace:
    if room == "kserve":
        return parse(given)
    return arguments.parse(arguments.own_metrics(arguments.parser(room)), given)


@pytest.mark.parametrize("room", _PODS)
def test_the_runtime_passes_pod_security_restricted(room: str) -> None:
    spec = _PODS[room]
    assert not {"hostIPC", "hostPID", "hostNetwork"} & set(spec)
    assert all(set(volume) <= {"name", "emptyDir"} for volume in spec["volumes"])
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        context = container["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] != 0
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all("hostPort" not in port for port in container.get("ports", ()))


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The API server drops unknown fields in silence: here they are errors."""
    closed = {key: _closed(value) if isinstance(value, dict) else value for key, value in schema.items()}
    if "properties" in schema:
        closed["properties"] = {name: _closed(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            closed["additionalProperties"] = False
    return closed


@pytest.mark.skipif(not _CRDS.is_dir(), reason="the CRDs are not beside this checkout")
@pytest.mark.parametrize("room", _RUNTIMES)
def test_the_runtime_fits_kserves_schema(room: str) -> None:
    runtime = _RUNTIMES[room]
    crd = json.loads((_CRDS / "clusterservingruntimes.serving.kserve.io.json").read_text())
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1alpha1")
    schema = _closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    jsonschema.validate(runtime["spec"], schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**runtime["spec"], "protocolVersion": ["v1"]}, schema)
    assert runtime["apiVersion"] == f"{crd['spec']['group']}/v1alpha1"
    assert runtime["kind"] == crd["spec"]["names"]["kind"]


@pytest.mark.skipif(not _CRDS.is_dir(), reason="the CRDs are not beside this checkout")
def test_the_seldon_deployment_fits_its_schema() -> None:
    crd = json.loads((_CRDS / "seldondeployments.machinelearning.seldon.io.json").read_text())
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
    schema = _closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    jsonschema.validate(_SELDON["spec"], schema)
    assert (_SELDON["apiVersion"], _SELDON["kind"]) == (f"{crd['spec']['group']}/v1", crd["spec"]["names"]["kind"])
