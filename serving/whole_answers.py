"""HTTP answers that leave in one piece: status, headers and body in a single write to the socket.

uvicorn writes head and body apart. A server that is killed between the two leaves half an answer, which a router
that has passed the head on cannot repeat elsewhere. One write is also cheaper, for the server and for its reader.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class WholeAnswers(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a transport that gathers what one turn of the event loop writes."""

    def connection_made(self, transport: Any) -> None:
        """A client connected."""
        super().connection_made(_Gathering(transport, self.loop))  # type: ignore[arg-type]  # it stands in for one


class _Gathering:
    """A transport whose writes are held until the event loop's next turn, or until it is closed."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._transport.write(b"".join(held))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
