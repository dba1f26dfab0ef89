"""What the command line of every model server has in common; a bad argument ends it with code 2 and a sentence."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from trimtab import __version__
from trimtab.serving.served import Served

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_TOLD = ("kserve", "mlserver", "nvidia-pytriton", "torchserve", "seldon-core", "scikit-learn", "numpy")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parser(module: str, environment: Mapping[str, str] | None = None) -> argparse.ArgumentParser:
    """A parser for `python -m module`; what must be given may also stand in the `environment`, as TRIMTAB_VERSION."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description="Serve one model version.")
    given = environment or {}

    def needed(flag: str, kind: Callable[[str], object], what: str) -> None:
        default = given.get(f"TRIMTAB_{flag.upper()}") or None
        made.add_argument(f"--{flag}", required=default is None, default=default, type=kind, help=what)

    needed("name", _name, "the model's name in the URL")
    needed("version", _name, "the version, for answers, log and metrics")
    needed("bundle", Path, "the bundle's folder")
    needed("digest", _digest, "the digest that the registry vouches for")
    log_dir = given.get("TRIMTAB_LOG_DIR")
    made.add_argument(
        "--log-dir", type=Path, default=Path(log_dir) if log_dir else None, help="folder of the prediction log"
    )
    made.add_argument("--no-log", action="store_true", help="keep no prediction log: only for measuring its cost")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on")
    made.add_argument("--http-port", required=True, type=whole(1, 65535), help="port of HTTP")
    made.add_argument("--grpc-port", type=whole(0, 65535), default=0, help="port of gRPC; 0 turns it off")
    made.add_argument("--max-rows", type=whole(1), default=1000, help="most rows in one request")
    made.add_argument("--max-body-bytes", type=whole(1), default=4 << 20, help="largest request body")
    made.add_argument(
        "--when-full", choices=("refuse", "serve"), default="refuse", help="what to do when the log has no room"
    )
    made.add_argument("--no-scores", action="store_true", help="do not log scores")
    made.add_argument("--about", action="version", version=about(), help="tell the versions of what serves, and end")
    made.add_argument("--accept-time-header", action="store_true", help="replay: requests carry their own time")
    return made


def own_metrics(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The same, for a runtime that has a port of its own for /metrics."""
    made.add_argument("--metrics-port", type=whole(0, 65535), default=0, help="port of /metrics; 0 turns it off")
    return made


def about() -> str:
    """trimtab's version, and those of the runtime and of what reads a bundle."""
    found = [f"trimtab {__version__}"]
    for name in _TOLD:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return ", ".join(found)


def parse(made: argparse.ArgumentParser, given: list[str]) -> argparse.Namespace:
    """The arguments; ends the process with code 2 for bad ones."""
    arguments = made.parse_args(given)
    if arguments.log_dir is None and not arguments.no_log:
        made.error("give --log-dir DIR, or --no-log")
    return arguments


def served(arguments: argparse.Namespace) -> Served:
    """What they say is served."""
    return Served(
        name=arguments.name,
        version=arguments.version,
        bundle=arguments.bundle,
        digest=arguments.digest,
        log_dir=None if arguments.no_log else arguments.log_dir,
        max_rows=arguments.max_rows,
        log_scores=not arguments.no_scores,
        when_full=arguments.when_full,
        virtual_time=arguments.accept_time_header,
    )


def whole(low: int, high: int = 1 << 40) -> Callable[[str], int]:
    """A reader of whole numbers, `low` to `high`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text[:20]) <= high):
            raise argparse.ArgumentTypeError(f"{text[:32]!r}: expected a whole number, {low} to {high}")
        return int(text)

    return read


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:64]!r}: expected letters, digits, dots, dashes and underscores")
    return text


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r}: expected sha256: and 64 hexadecimal digits")
    return text
