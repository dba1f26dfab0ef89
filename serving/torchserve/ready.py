"""Whether TorchServe can be asked for predictions: python -m trimtab.serving.torchserve.ready --port P --name N

Its /ping says Healthy before its worker has loaded the model: here the model is asked for nothing, and has to say so.
"""

from __future__ import annotations

import argparse
import http.client
import sys

_NOTHING_ASKED = 400


def ready(address: str, name: str) -> bool:
    """Whether the model's own handler answers at host:port; writes no record."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("POST", f"/predictions/{name}", b"{}", {"content-type": "application/json"})
        return connection.getresponse().status == _NOTHING_ASKED
    except OSError:
        return False
    finally:
        connection.close()


def main(given: list[str]) -> int:
    """0 if it is ready, else 1."""
    parser = argparse.ArgumentParser(prog="python -m trimtab.serving.torchserve.ready")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    arguments = parser.parse_args(given)
    return 0 if ready(f"127.0.0.1:{arguments.port}", arguments.name) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
