"""An answer leaves in one write: whoever is killed leaves a whole answer or none."""

import asyncio

from trimtab.serving.whole_answers import WholeAnswers, _Gathering


class _Transport:
    def __init__(self) -> None:
        self.seen: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.seen.append(data)

    def close(self) -> None:
        self.seen.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.seen


def test_what_one_turn_writes_is_one_write() -> None:
    async def scenario() -> None:
        transport = _Transport()
        gathering = _Gathering(transport, asyncio.get_running_loop())
        gathering.write(b"head ")
        gathering.write(b"body")
        assert transport.seen == []
        await asyncio.sleep(0)
        assert transport.seen == [b"head body"]
        gathering.write(b"more")
        gathering.close()
        await asyncio.sleep(0)
        assert transport.seen == [b"head body", b"more", "closed"]
        assert gathering.is_closing()

    asyncio.run(scenario())


def test_it_is_uvicorns_protocol() -> None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    assert issubclass(WholeAnswers, HttpToolsProtocol)
