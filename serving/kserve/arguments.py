"""The KServe server's command line; a bad argument ends it with exit code 2 and a sentence."""

from __future__ import annotations

import argparse

from trimtab.serving import arguments
from trimtab.serving.arguments import whole


def parse(given: list[str]) -> argparse.Namespace:
    """The arguments; ends the process with code 2 for bad ones."""
    parser = arguments.parser("trimtab.serving.kserve.server")
    parser.add_argument("--max-batch-rows", type=whole(1), default=64, help="most rows computed at once")
    parser.add_argument(
        "--stuck-seconds", type=whole(1), default=30, help="a batch computed longer makes the server unhealthy"
    )
    return arguments.parse(parser, given)
