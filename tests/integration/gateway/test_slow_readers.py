"""A client that asks and then reads nothing is cut off, and what answers it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import ClassVar

import pytest
import uvicorn
from uvicorn.server import ServerState

from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.reply import Reply
from guilder.platform.http.server_protocol import LimitedProtocol
from tests.support.http_server import serving
from tests.support.waiting import until

PATIENCE_S = 60
PIECE = b"x" * 65_536
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Impatient(LimitedProtocol):
    stall_timeout_s = 0.1


class Watchful(LimitedProtocol):
    """Has a look at the time that it would wait, and reads on as long as it is not over."""

    stall_timeout_s = 30.0
    stalls: ClassVar[list[asyncio.TimerHandle]] = []

    def pause_writing(self) -> None:
        super().pause_writing()
        assert self._stall is not None
        self.stalls.append(self._stall)

    @classmethod
    async def waited(cls, times: int) -> bool:
        return len(cls.stalls) >= times


class Flood:
    """Answers with pieces for as long as somebody takes them."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def respond(self, incoming: Incoming) -> Reply:
        return Reply(status=200, content_type=b"text/plain", stream=self._pieces())

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield PIECE
                await asyncio.sleep(0)
        finally:
            self.closed.set()


async def test_who_reads_nothing_is_cut_off_and_the_stream_is_closed() -> None:
    flood = Flood()
    app = HttpApp(flood.respond, proxies=TrustedProxies())
    async with serving(app, protocol=Impatient) as address:
        reader, writer = await address.connect()
        writer.transport.pause_reading()
        writer.write(REQUEST)

        async with asyncio.timeout(PATIENCE_S):
            await flood.closed.wait()

        writer.transport.abort()
        assert not reader.at_eof()


class Stuck(asyncio.Transport):
    """A connection whose client takes nothing of the little that waits to be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return 8_000

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted.set()


@pytest.mark.parametrize("ended", ["eof_received", "timeout_keep_alive_handler"])
async def test_who_takes_nothing_of_the_last_bytes_is_cut_off(ended: str) -> None:
    app = HttpApp(Flood().respond, proxies=TrustedProxies())
    config = uvicorn.Config(app, http=Impatient, log_config=None)
    config.load()
    stuck, protocol = Stuck(), Impatient(config, ServerState(), {})
    protocol.connection_made(stuck)

    getattr(protocol, ended)()

    async with asyncio.timeout(PATIENCE_S):
        await stuck.aborted.wait()
    assert stuck.closing is (ended != "eof_received")
    protocol.connection_lost(None)


async def test_who_goes_on_reading_goes_on_getting() -> None:
    flood = Flood()
    app = HttpApp(flood.respond, proxies=TrustedProxies())
    async with serving(app, protocol=Watchful) as address:
        reader, writer = await address.connect()
        writer.write(REQUEST)

        for waits in range(1, 4):
            writer.transport.pause_reading()
            await until(lambda waits=waits: Watchful.waited(waits), "the server waits")
            writer.transport.resume_reading()
            async with asyncio.timeout(PATIENCE_S):
                await reader.readexactly(20 * len(PIECE))

        # Each wait was over, and the next one began anew.
        assert not flood.closed.is_set()
        assert all(stall.cancelled() for stall in Watchful.stalls[:2])
        writer.transport.abort()
