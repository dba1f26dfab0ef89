"""One version behind Triton's own server: verify, lay out its model repository, and become tritonserver.

python -m trimtab.serving.triton.server --name N --version V --bundle DIR --digest D --log-dir DIR --http-port P
"""

from __future__ import annotations

import os
import sys
import sysconfig
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

from trimtab.errors import TrimtabError
from trimtab.serving import arguments
from trimtab.serving.asked import ATTEMPT, REQUEST_ID, SHADOW, VIRTUAL_TIME
from trimtab.serving.served import Served
from trimtab.serving.signature import inputs, outputs
from trimtab.serving.starting import Program, become
from trimtab.serving.triton import numpy2_pickles, repository
from trimtab.stages.bundle import Predictor

MODULE = "trimtab.serving.triton.server"
_EXIT_SECONDS = 10


def program(given: Namespace, served: Served, predictor: Predictor, folder: Path) -> Program:
    """tritonserver on the stated address; raises TrimtabError where the wheel that holds it is not installed."""
    wheel, libraries = _wheel()
    tensors = inputs(predictor), outputs(predictor)
    models = repository.lay_out(folder / "models", served.name, served.version, *tensors, served.max_rows)
    backends = repository.backends(folder / "backends", wheel)
    forwarded = f"(?i)({'|'.join((REQUEST_ID, SHADOW, ATTEMPT, VIRTUAL_TIME, 'host'))})"
    command = [
        str(wheel / "bin" / "tritonserver"),
        f"--model-repository={models}",
        f"--backend-directory={backends}",
        "--disable-auto-complete-config",
        f"--http-address={given.host}",
        f"--http-port={given.http_port}",
        f"--http-header-forward-pattern={forwarded}",
        *_port("grpc", given.host, given.grpc_port),
        *_port("metrics", given.host, given.metrics_port),
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        "--log-info=false",
        f"--exit-timeout-secs={_EXIT_SECONDS}",
    ]
    if given.grpc_port:
        command.append(f"--grpc-header-forward-pattern={forwarded}")
    return Program(command, {"LD_LIBRARY_PATH": ":".join(libraries)})


def _port(kind: str, host: str, port: int) -> list[str]:
    return [f"--{kind}-address={host}", f"--{kind}-port={port}"] if port else [f"--allow-{kind}=false"]


def _wheel() -> tuple[Path, list[str]]:
    """Where nvidia-pytriton keeps tritonserver, and where the libraries of both are; it is not imported."""
    spec = find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise TrimtabError("tritonserver is not here: install nvidia-pytriton (serving/triton/pinned.txt)")
    package = Path(spec.submodule_search_locations[0])
    libraries = [str(package.parent / "nvidia_pytriton.libs")]
    own = sysconfig.get_config_var("LIBDIR")  # for libpython, where Python is not the system's
    return package / "tritonserver", [
        *libraries,
        *([own] if own else []),
        *filter(None, [os.getenv("LD_LIBRARY_PATH")]),
    ]


def main(given: list[str]) -> int:
    """Become tritonserver; returns 2, with a sentence, for what cannot be served."""
    numpy2_pickles.accept()
    parser = arguments.own_metrics(arguments.parser(MODULE, os.environ))
    return become(parser, given, program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
