"""What the model server refuses to start with, and how it says so."""

import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving_processes import GOOD, Process, gated, model_server, predict

from trimtab.adapters.listening import free_port
from trimtab.serving.kserve.arguments import parse
from trimtab.serving.kserve.server import main
from trimtab.testing import bundles
from trimtab.testing.bundles import MadeBundle

pytestmark = pytest.mark.local


Start = Callable[..., Process]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeBundle:
    return bundles.make(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def start(tmp_path: Path, made: MadeBundle) -> Iterator[Start]:
    started = []

    def build(*options: str, bundle: MadeBundle = made, **more: object) -> Process:
        started.append(model_server(tmp_path, bundle, *options, **more))
        return started[-1]

    yield build
    for server in started:
        server.kill()


class _Bomb:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self._path,)


def _copy(made: MadeBundle, folder: Path) -> Path:
    folder.mkdir()
    for path in made.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def _main(folder: Path, digest: str, tmp_path: Path) -> int:
    options = {"name": "m", "version": "1", "bundle": folder, "digest": digest, "log-dir": tmp_path / "log"}
    return main([text for key, value in {**options, "http-port": 1}.items() for text in (f"--{key}", str(value))])


def test_a_changed_model_is_refused_with_code_2_and_never_unpickled(
    start: Start, made: MadeBundle, tmp_path: Path
) -> None:
    folder = _copy(made, tmp_path / "b")
    (folder / "model.joblib").write_bytes(pickle.dumps(_Bomb(tmp_path / "boom")))
    server = start(bundle=MadeBundle(folder, made.digest, made.document, made.holdout), ready=False)
    assert server.popen.wait(60) == 2
    assert "version 7 is not served: " in server.text()
    assert "model.joblib was changed or cut short" in server.text()
    assert "Traceback" not in server.text()
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    "name", ["manifest.json", "contract.json", "transform.json", "model.joblib", "reference.parquet", "evaluation.json"]
)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "link", "empty"])
def test_a_damaged_bundle_is_refused(
    made: MadeBundle, tmp_path: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _copy(made, tmp_path / "b")
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "link":
        (tmp_path / name).write_bytes(content)
        path.symlink_to(tmp_path / name)
    elif damage != "gone":
        flipped = bytes([content[0] ^ 1]) + content[1:]
        path.write_bytes({"cut": content[:-1], "flipped": flipped, "empty": b""}[damage])
    assert _main(folder, made.digest, tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith("version 1 is not served: ")
    assert str(path) in said
    assert said.count("\n") == 1


def test_a_wrong_digest_a_missing_bundle_and_a_foreign_model_are_refused(
    made: MadeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(made.folder, f"sha256:{'0' * 64}", tmp_path) == 2
    assert "is not the one that the registry vouches for" in capsys.readouterr().err
    assert _main(tmp_path / "nowhere", made.digest, tmp_path) == 2
    assert "No such file" in capsys.readouterr().err
    foreign = gated(made, tmp_path / "foreign", tmp_path / "gate")
    model = (foreign.folder / "model.joblib").read_bytes()
    assert model  # vouched for, but of a module that this process cannot import
    import sys

    known = sys.modules.pop("gated_estimator")
    paths, sys.path[:] = sys.path[:], [path for path in sys.path if path != str(Path(__file__).parent)]
    try:
        assert _main(foreign.folder, foreign.digest, tmp_path) == 2
    finally:
        sys.modules["gated_estimator"], sys.path[:] = known, paths
    assert "ModuleNotFoundError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"http-port": "0"}, "1 to 65535"),
        ({"http-port": "eighty"}, "'eighty': expected a whole number"),
        ({"http-port": "70000"}, "1 to 65535"),
        ({"name": "../m"}, "'../m': expected letters"),
        ({"version": ""}, "'': expected letters"),
        ({"digest": "md5:0"}, "expected sha256:"),
        ({"max-rows": "-1"}, "expected a whole number"),
        ({"when-full": "panic"}, "invalid choice"),
        ({"log-dir": None}, "--log-dir DIR, or --no-log"),
        ({"surprise": "1"}, "unrecognized arguments"),
    ],
)
def test_bad_arguments_end_it_with_code_2(change: dict, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    good = {
        "name": "m",
        "version": "1",
        "bundle": "b",
        "digest": f"sha256:{'a' * 64}",
        "log-dir": "l",
        "http-port": "1",
    }
    given = {key: value for key, value in {**good, **change}.items() if value is not None}
    with pytest.raises(SystemExit) as ended:
        parse([f"--{key}={value}" for key, value in given.items()])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_taken_port_is_told(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start(grpc_port=taken.getsockname()[1], ready=False)
        assert server.popen.wait(60) == 1
        assert "version 7 cannot listen on 127.0.0.1, port" in server.text()
        assert "Traceback" not in server.text()
    first = start(grpc_port=(port := free_port()))
    assert start(grpc_port=port, ready=False).popen.wait(60) == 1  # no sharing: it would answer for the other
    assert predict(first.address, GOOD)[0] == 200
