"""One version behind Seldon Core's Python wrapper (seldon-core-microservice), on a stated address, REST only.

python -m trimtab.serving.seldon.server --name N --version V --bundle DIR --digest D --log-dir DIR --http-port P
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import Any

from flask import request
from seldon_core import gunicorn_utils, microservice
from seldon_core.flask_utils import SeldonMicroserviceException

from trimtab.errors import TrimtabError
from trimtab.serving import arguments
from trimtab.serving.served import load

MODULE = "trimtab.serving.seldon.server"
_MODEL = "trimtab.serving.seldon.model.BundleModel"
_REFUSED = 2


def _bind(host: str) -> None:
    """Seldon binds 0.0.0.0 and has no option for it."""
    options = gunicorn_utils.StandaloneApplication.load_config

    def load_config(self: Any) -> None:
        self.options["bind"] = self.options["bind"].replace("0.0.0.0", host, 1)  # noqa: S104 - what is replaced
        options(self)

    gunicorn_utils.StandaloneApplication.load_config = load_config


def _limit(max_body_bytes: int) -> None:
    """A body is refused before it is read: its length must be announced."""
    make = microservice.seldon_microservice.get_rest_microservice

    def limited(user_model: Any, metrics: Any) -> Any:
        app = make(user_model, metrics)

        def refuse() -> None:
            if request.content_length is None and request.headers.get("transfer-encoding"):
                raise SeldonMicroserviceException("send the body's length with it", 411)
            if (request.content_length or 0) > max_body_bytes:
                raise SeldonMicroserviceException(f"the body is larger than {max_body_bytes} bytes", 413)

        app.before_request(refuse)
        return app

    microservice.seldon_microservice.get_rest_microservice = limited


def _sealed() -> None:
    """The worker's log is sealed when the worker ends."""
    leave = microservice.worker_exit

    def worker_exit(server: Any, worker: Any, seldon_metrics: Any) -> None:
        worker.app.user_object.close()
        leave(server, worker, seldon_metrics)

    microservice.worker_exit = worker_exit


def run(given: Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    _bind(f"[{given.host}]" if ":" in given.host else given.host)
    _limit(given.max_body_bytes)
    _sealed()
    if not given.metrics_port:
        microservice._make_rest_metrics_server = lambda metrics, args: None  # noqa: ARG005 - Seldon's names
    ports = ["--http-port", str(given.http_port), "--metrics-port", str(given.metrics_port)]
    # one worker: a log each, and one model fits into this process; gRPC's would be a second one
    workers = ["--workers", "1", "--threads", "1", "--grpc-workers", "0"]
    sys.argv = ["seldon-core-microservice", _MODEL, *ports, *workers, "--log-level", "WARNING"]
    microservice.main()


def main(given: list[str]) -> int:
    """Verify, load, serve; returns 2 with a sentence for what cannot be served."""
    # the chart and Seldon's operator say the port so
    given = [*_port_of(os.environ), *given]
    parser = arguments.own_metrics(arguments.parser(MODULE, os.environ))
    parsed = arguments.parse(parser, given)
    if parsed.grpc_port:
        parser.error("--grpc-port: Seldon's wrapper serves REST only here")
    served = arguments.served(parsed)
    try:
        load(served.bundle, served.digest)  # a worker would tell of it in the middle of a traceback, again and again
    except TrimtabError as error:
        print(f"version {served.version} is not served: {error}", file=sys.stderr)
        return _REFUSED
    os.environ |= served.to_environment()
    run(parsed)
    return 0


def _port_of(environment: Any) -> list[str]:
    names = {
        "--http-port": "PREDICTIVE_UNIT_HTTP_SERVICE_PORT",
        "--metrics-port": "PREDICTIVE_UNIT_METRICS_SERVICE_PORT",
    }
    return [part for flag, name in names.items() if environment.get(name) for part in (flag, environment[name])]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
