"""The command line of our model server, the same for a process and for a pod."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab.errors import Refused
from trimtab.ports.servers import ServerRequest
from trimtab.spec.serving import Serving

MODULE = "trimtab.serving.kserve.server"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def checked(version: str) -> str:
    """The version, if it can name a folder; raises Refused."""
    if not _VERSION.fullmatch(version):
        raise Refused(
            f"version {version!r} cannot name a folder: use at most 64 letters, digits, dots, dashes and underscores"
        )
    return version


def arguments(
    name: str, serving: Serving, request: ServerRequest, log: Path, listen: str, ports: tuple[int, int]
) -> list[str]:
    """Arguments of the server of one version; `log` is the folder of the prediction log, `ports` are REST and gRPC."""
    limits = serving.limits
    options = {
        "name": name,
        "version": request.version,
        "bundle": request.bundle,
        "digest": request.digest,
        "log-dir": log,
        "host": listen,
        "http-port": ports[0],
        "grpc-port": ports[1],
        "max-rows": limits.max_rows,
        "max-batch-rows": serving.batching.max_rows,
        "max-body-bytes": limits.max_body_bytes,
        "when-full": serving.log.when_full,
    }
    texts = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    return [*texts, *([] if serving.log.scores else ["--no-scores"])]
