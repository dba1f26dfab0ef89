"""The model store and the configuration as TorchServe wants them, laid out for one version."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from trimtab import __version__
from trimtab.serving.served import Served

_HANDLER = """from trimtab.serving.torchserve.handler import BundleHandler


class Handler(BundleHandler):
    \"\"\"TorchServe takes the class that this very file defines.\"\"\"
"""
_LOG = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %p %c{1}: %m%n"/></Console></Appenders>
  <Loggers>
    <Logger name="MODEL_LOG" level="warn"/>
    <Root level="warn"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


def lay_out(folder: Path, served: Served) -> Path:
    """The store below `folder`, with one unpacked archive named as the model; returns it."""
    archive = folder / "store" / served.name
    (archive / "MAR-INF").mkdir(parents=True)
    model = {"modelName": served.name, "handler": "handler.py", "modelVersion": served.version}
    manifest = {"createdOn": "", "runtime": "python", "model": model, "archiverVersion": __version__}
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    (archive / "handler.py").write_text(_HANDLER)
    (folder / "log4j2.xml").write_text(_LOG)
    return folder / "store"


def configuration(given: Namespace, folder: Path) -> str:
    """config.properties. The management API, which loads any code, is a socket in a folder that only we can enter."""
    unused = f"unix:{folder}"
    metrics = f"http://{_host(given.host)}:{given.metrics_port}" if given.metrics_port else f"{unused}/metrics"
    return "\n".join(
        f"{name}={value}"
        for name, value in {
            "inference_address": f"http://{_host(given.host)}:{given.http_port}",
            "management_address": f"{unused}/management",
            "metrics_address": metrics,
            "grpc_inference_address": given.host if given.grpc_port else "127.0.0.1",
            "grpc_inference_port": given.grpc_port,
            "grpc_management_address": "127.0.0.1",
            "grpc_management_port": 0,
            "metrics_mode": "prometheus",
            "max_request_size": given.max_body_bytes,
            "default_workers_per_model": 1,
            "disable_token_authorization": "true",
            "enable_envvars_config": "false",
            "allowed_urls": f"file://{folder}/.*",
            "install_py_dep_per_model": "false",
        }.items()
    )


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
