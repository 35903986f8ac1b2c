"""Receivers of webhooks: real HTTP servers that answer as a test says, well or badly."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from tests.support.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found


Answer: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Receiver:
    """A server on this machine. ``answer`` is what it does once it has read a request."""

    answer: Answer
    scheme: str = "http"
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [request.id for request in self.requests]

    async def received(self, count: int) -> list[Received]:
        """The first ``count`` requests, once there are so many."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)
        return self.requests[:count]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read(reader)
            async with self._news:
                self.requests.append(request)
                self._news.notify_all()
            await self.answer(reader, writer)
            await writer.drain()
        with suppress(ConnectionError, ssl.SSLError):
            writer.close()
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(path=first.split(" ")[1], headers=headers, body=body)


@asynccontextmanager
async def receiving(
    answer: Answer | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Receiver]:
    """A receiver until the block ends; it says 200 unless told otherwise."""
    receiver = Receiver(answer or answering(200), scheme="https" if tls else "http")
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            running.discard(task)

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


def raw(sent: bytes) -> Answer:
    """Sends these bytes, whatever they are, and closes."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)

    return answer


def answering(status: int, *, body: bytes = b"", **headers: str) -> Answer:
    """A well-formed answer; ``retry_after`` names the header Retry-After."""
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    fields["content-length"] = str(len(body))
    lines = [f"HTTP/1.1 {status} Because", *(f"{name}: {text}" for name, text in fields.items())]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


async def hanging(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Never answers, for as long as the caller stays."""
    await reader.read()


async def dripping_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends a head that never ends, a byte after the other."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0)


async def dripping_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says 200 and then holds back the body that it promised."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab")
    await writer.drain()
    await reader.read()


async def flooding(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends a body without end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    piece = b"x" * 65_536
    while True:
        writer.write(b"10000\r\n" + piece + b"\r\n")
        await writer.drain()


async def trailing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends trailers without end behind a body."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
    while True:
        writer.write(b"x-more: " + b"y" * 1_000 + b"\r\n")
        await writer.drain()


async def promising(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends interim answers without end."""
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
        await writer.drain()


def gzip_bomb() -> Answer:
    """A small body that would be 100 MB when decompressed."""
    return answering(200, body=gzip.compress(bytes(100_000_000)), content_encoding="gzip")
