"""One version behind TorchServe: verify, lay out its model store, and become its server.

python -m trimtab.serving.torchserve.server --name N --version V --bundle DIR --digest D --log-dir DIR --http-port P

TorchServe's own command would stand between: it starts the same Java program and does not hand SIGTERM on.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

from trimtab.errors import TrimtabError
from trimtab.serving import arguments
from trimtab.serving.served import Served
from trimtab.serving.starting import Program, become
from trimtab.serving.torchserve import store
from trimtab.stages.bundle import Predictor

MODULE = "trimtab.serving.torchserve.server"
_HEAP = "-Xmx512m"


def program(given: Namespace, served: Served, _predictor: Predictor, folder: Path) -> Program:
    """TorchServe's Java program on the stated address; raises TrimtabError where torchserve is not installed."""
    spec = find_spec("ts")
    if spec is None or not spec.submodule_search_locations:
        raise TrimtabError("TorchServe is not here: install torchserve (serving/torchserve/pinned.txt)")
    package = Path(spec.submodule_search_locations[0])
    models = store.lay_out(folder, served)
    (folder / "config.properties").write_text(store.configuration(given, folder))
    home = os.getenv("JAVA_HOME")
    command = [
        f"{home}/bin/java" if home else "java",
        _HEAP,
        f"-Dmodel_server_home={package.parent}",
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j.configurationFile=file://{folder}/log4j2.xml",
        "-cp",
        f".:{package}/frontend/*",
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(folder / "config.properties")),
        *("-s", str(models)),
        *("-w", str(models)),
        "-ncs",
        "--disable-token-auth",
        *("-m", f"{served.name}={served.name}"),
    ]
    return Program(command, {"TEMP": str(folder), "LOG_LOCATION": str(folder), "METRICS_LOCATION": str(folder)})


def main(given: list[str]) -> int:
    """Become TorchServe; returns 2, with a sentence, for what cannot be served."""
    parser = arguments.own_metrics(arguments.parser(MODULE, os.environ))
    return become(parser, given, program)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
