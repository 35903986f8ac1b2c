"""A link to PostgreSQL that can be cut or fall silent: a TCP proxy before its Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

COMMIT = b"COMMIT;"


@dataclass(slots=True, kw_only=True)
class Link:
    """A proxy that is listening. ``cuts_left``: how many commits are still to lose their answer.

    While it is silent, nothing that is sent arrives on either side, a farewell neither. It falls
    silent when ``silent_from`` is sent, which does not arrive, or ``silent_after``, which does.
    """

    url: str
    socket: str
    cuts_left: int = 0
    cuts: int = 0
    silent_from: bytes = b""
    silent_after: bytes = b""
    is_silent: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut_all(self) -> None:
        """Cut every connection that is open now."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def speak_again(self) -> None:
        """Carry what comes from now on; connections that met the silence are cut."""
        self.silent_from = self.silent_after = b""
        self.is_silent = False
        self.cut_all()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until an end of it is closed or it is cut."""
        up_reader, up_writer = await asyncio.open_unix_connection(self.socket)
        self._writers.update((writer, up_writer))
        lose_answer = asyncio.Event()
        down = asyncio.create_task(self._down(up_reader, writer, lose_answer))
        with contextlib.suppress(ConnectionError):
            while sent := await reader.read(65536):
                if self.cuts_left and COMMIT in sent:
                    self.cuts_left -= 1
                    lose_answer.set()
                if self.silent_from and self.silent_from in sent:
                    self.is_silent = True
                if not self.is_silent:
                    up_writer.write(sent)
                if self.silent_after and self.silent_after in sent:
                    self.is_silent = True
        if not self.is_silent:
            up_writer.close()  # else the server does not hear of it either
        await down
        up_writer.close()
        self._writers.difference_update((writer, up_writer))

    async def _down(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lose_answer: asyncio.Event,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while answer := await reader.read(65536):
                if lose_answer.is_set():
                    # the server has committed and says so; nobody will hear it
                    self.cuts += 1
                    writer.transport.abort()
                    return
                if not self.is_silent:
                    writer.write(answer)
        writer.close()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A `Link` to the server at ``url``, which names the folder of its Unix socket."""
    parts = urlsplit(url)
    place = parse_qs(parts.query)
    link = Link(url="", socket=f"{place['host'][0]}/.s.PGSQL.{place['port'][0]}")
    server = await asyncio.start_server(link.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link.url = parts._replace(
        netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}", query="sslmode=disable"
    ).geturl()
    try:
        yield link
    finally:
        server.close()
        link.cut_all()
