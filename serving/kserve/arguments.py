"""The model server's command line; a bad argument ends it with exit code 2 and a sentence."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parse(given: list[str]) -> argparse.Namespace:
    """The arguments; ends the process with code 2 for bad ones."""
    parser = argparse.ArgumentParser(
        prog="python -m trimtab.serving.kserve.server", description="Serve one model version."
    )
    parser.add_argument("--name", required=True, type=_name, help="the model's name in the URL")
    parser.add_argument("--version", required=True, type=_name, help="the version, for answers, log and metrics")
    parser.add_argument("--bundle", required=True, type=Path, help="the bundle's folder")
    parser.add_argument("--digest", required=True, type=_digest, help="the digest that the registry vouches for")
    parser.add_argument("--log-dir", type=Path, help="folder of the prediction log")
    parser.add_argument("--no-log", action="store_true", help="keep no prediction log: only for measuring its cost")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--http-port", required=True, type=_whole(1, 65535), help="port of V1 and V2 REST")
    parser.add_argument("--grpc-port", type=_whole(0, 65535), default=0, help="port of V2 gRPC; 0 turns it off")
    parser.add_argument("--max-rows", type=_whole(1), default=1000, help="most rows in one request")
    parser.add_argument("--max-batch-rows", type=_whole(1), default=64, help="most rows computed at once")
    parser.add_argument("--max-body-bytes", type=_whole(1), default=4 << 20, help="largest request body")
    parser.add_argument(
        "--when-full", choices=("refuse", "serve"), default="refuse", help="what to do when the log has no room"
    )
    parser.add_argument("--no-scores", action="store_true", help="do not log scores")
    parser.add_argument("--accept-time-header", action="store_true", help="replay: requests carry their own time")
    parser.add_argument(
        "--stuck-seconds", type=_whole(1), default=30, help="a batch computed longer makes the server unhealthy"
    )
    arguments = parser.parse_args(given)
    if arguments.log_dir is None and not arguments.no_log:
        parser.error("give --log-dir DIR, or --no-log")
    return arguments


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:64]!r}: expected letters, digits, dots, dashes and underscores")
    return text


def _digest(text: str) -> str:
    if not _DIGEST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r}: expected sha256: and 64 hexadecimal digits")
    return text


def _whole(low: int, high: int = 1 << 40) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text[:20]) <= high):
            raise argparse.ArgumentTypeError(f"{text[:32]!r}: expected a whole number, {low} to {high}")
        return int(text)

    return read
