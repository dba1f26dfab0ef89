"""A model server without a model: takes the model servers' command line and misbehaves on demand.

`POST /control/<mode>` sets the mode: `ok`, `error` (500 to predictions), `hang` (no answer to anything), `slow` (half
a second), `unready` (only the readiness probe fails). `GET /counts` tells what it answered. A file `fault` in the
bundle holds `die` (ends at once) or `starting` (never ready). It needs nothing but the standard library, so it starts
in a moment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any


class FakeServer:
    """One version that answers with its own name."""

    def __init__(self, version: str, ready: bool) -> None:
        self.version, self.ready, self.mode = version, ready, "ok"
        self.ids: list[str] = []
        self.copies: list[str] = []
        self.active = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ", 2)
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.active += 1
                try:
                    status, answer = await self.answer(method, path, headers, body)
                    text = json.dumps(answer).encode()
                    kind = "content-type: application/json\r\nx-trimtab-version: " + self.version
                    writer.write(
                        f"HTTP/1.1 {status} x\r\n{kind}\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text
                    )
                    await writer.drain()
                finally:
                    self.active -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the client or the loop is gone
            writer.close()

    async def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        """(status, JSON) of one request."""
        if path.startswith("/control/"):
            self.mode = path.rpartition("/")[2]
            return 200, {}
        if path == "/counts":
            return 200, {"ids": self.ids, "copies": self.copies}
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if path.startswith("/v2/health/"):
            ready = self.ready and self.mode != "unready"
            return (200 if ready or path.endswith("live") else 503), {}
        if self.mode == "slow":
            await asyncio.sleep(0.5)
        if method == "POST" and self.mode == "error":
            return 500, {"error": "told to fail"}
        copy = headers.get("host", "").endswith("-shadow")
        (self.copies if copy else self.ids).append(headers.get("x-request-id", ""))
        return 200, {"version": self.version, "path": path, "headers": headers, "bytes": len(body)}


async def run(host: str, port: int, server: FakeServer) -> None:
    """Serve until SIGTERM, then finish the requests under way."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    listening = await asyncio.start_server(server.serve, host, port)
    print(f"version {server.version} listens on {listening.sockets[0].getsockname()[1]}", flush=True)
    await stopped.wait()
    listening.close()
    while server.active and server.mode != "hang":
        await asyncio.sleep(0.01)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--http-port", "--port", type=int, default=0)
    known, _ = parser.parse_known_args()
    file = known.bundle / "fault" if known.bundle else None
    fault = file.read_text().strip() if file and file.is_file() else ""
    if fault == "die":
        sys.exit("ArtifactCorrupt: the bundle differs from its digest")
    asyncio.run(run(known.host, known.http_port, FakeServer(known.version, ready=fault != "starting")))


if __name__ == "__main__":
    main()
