"""One HTTP/1.1 request to a receiver that `guilder.platform.egress` found fit, on a new connection.

Whatever the receiver does, the call ends in time, and takes no more memory than its caps say.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import httptools

from guilder.platform.addresses import Address
from guilder.platform.egress import Egress, NoSuchHost, Target, UrlRefused

_CHUNK: Final = 16 * 1024
_MOST_HEAD_BYTES: Final = 64 * 1024


class CallFailed(Exception):
    """There is no answer. ``reason`` is one word for the log: timeout, connection, tls, …"""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How long one call may take, in seconds, and how much of the answer's body is read."""

    connect_s: float = 5.0
    total_s: float = 15.0
    body_bytes: int = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a receiver answered. ``is_cut``: its body was longer, or did not end in time."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_cut: bool


class OutwardHttp:
    """Calls receivers. ``tls`` is what their certificates are checked with."""

    def __init__(
        self, egress: Egress, *, limits: CallLimits | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._egress = egress
        self._limits = limits or CallLimits()
        self._tls = tls or ssl.create_default_context()

    @property
    def total_s(self) -> float:
        """After how long a call has ended, whatever happens."""
        return self._limits.total_s

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send ``body`` and answer with what came back, whatever its status.

        A receiver that has sent its head has answered; a body that does not end is cut off.

        Raises:
            CallFailed: the URL may not be called, or no head of an answer came in time.
        """
        sized = {**headers, "content-length": str(len(body))}
        return await self._call("POST", url, headers=sized, body=body)

    async def get(self, url: str, *, headers: Mapping[str, str]) -> Reply:
        """Ask for what is there and answer with what came back, whatever its status.

        Raises:
            CallFailed: the URL may not be called, or no head of an answer came in time.
        """
        return await self._call("GET", url, headers=headers, body=b"")

    async def _call(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        deadline = asyncio.get_running_loop().time() + self._limits.total_s
        try:
            async with asyncio.timeout_at(deadline):
                target, reader, writer = await self._connect(url)
        except TimeoutError as error:
            raise CallFailed("timeout") from error
        reading = _Reading(most_bytes=self._limits.body_bytes)
        try:
            request = _head(method, target, headers) + body
            await self._exchange(reader, writer, request, reading, deadline=deadline)
        finally:
            _leave(writer, is_whole=reading.is_whole)
        return reading.reply()

    async def _connect(self, url: str) -> tuple[Target, asyncio.StreamReader, asyncio.StreamWriter]:
        deadline = asyncio.get_running_loop().time() + self._limits.connect_s
        async with asyncio.timeout_at(deadline):
            try:
                target, addresses = await self._egress.find(url)
                reader, writer = await self._first(addresses, target, deadline=deadline)
            except UrlRefused as error:
                raise CallFailed("address_refused") from error
            except NoSuchHost as error:
                raise CallFailed("no_such_host") from error
            except (ssl.SSLError, ssl.CertificateError) as error:
                raise CallFailed("tls") from error
            except OSError as error:
                raise CallFailed("connection") from error
        return target, reader, writer

    async def _first(
        self, addresses: Sequence[Address], target: Target, *, deadline: float
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address that takes one, and to no other host.

        Each has its share of the time that is left, so that one which hangs leaves some to others.
        """
        now = asyncio.get_running_loop().time
        for place, address in enumerate(addresses[:-1]):
            share_s = (deadline - now()) / (len(addresses) - place)
            with contextlib.suppress(OSError):
                async with asyncio.timeout(share_s):
                    return await self._open(address, target)
        return await self._open(addresses[-1], target)

    async def _open(
        self, address: Address, target: Target
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not target.secure:
            return await asyncio.open_connection(str(address), target.port, limit=_CHUNK)
        return await asyncio.open_connection(
            str(address),
            target.port,
            limit=_CHUNK,
            ssl=self._tls,
            server_hostname=target.host,
            ssl_shutdown_timeout=1.0,
        )

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
        reading: _Reading,
        *,
        deadline: float,
    ) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                writer.write(request)
                # a receiver may answer without having read everything, and hang up
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                while not reading.is_done:
                    chunk = await reader.read(_CHUNK)
                    reading.take(chunk)
                    if not chunk:
                        break
        except TimeoutError as error:
            if reading.status is None:
                raise CallFailed("timeout") from error
        except OSError as error:
            if reading.status is None:
                raise CallFailed("connection") from error


class _Reading:
    """Takes an answer in piece by piece; the parser calls its ``on_`` methods."""

    def __init__(self, *, most_bytes: int) -> None:
        self.status: int | None = None
        self.is_whole = False
        self._most_bytes = most_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._is_full = False
        self._head_bytes = 0

    @property
    def is_done(self) -> bool:
        return self.is_whole or self._is_full

    @property
    def is_cut(self) -> bool:
        """Whether there was more of the body, or was to be: the connection ended before it did."""
        return self._is_full or (not self.is_whole and self._promised_more())

    def take(self, chunk: bytes) -> None:
        """Read ``chunk``; an empty one is the end of the connection."""
        if not chunk:
            if self.status is None:
                raise CallFailed("connection")
            return
        if self.status is None:
            self._head_bytes += len(chunk)
        try:
            self._parser.feed_data(chunk)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.status is None:
                raise CallFailed("not_http") from error
            self._is_full = not self.is_whole
        if self.status is None and self._head_bytes > _MOST_HEAD_BYTES:
            raise CallFailed("head_too_large")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is None:  # what follows the body is no header, and has no end
            self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = int(self._parser.get_status_code())
        if self.status is None and (status >= 200 or status == 101):
            self.status = status

    def on_body(self, body: bytes) -> None:
        if self.is_whole:  # of another answer behind it, which nobody asked for
            return
        room = self._most_bytes - len(self._body)
        self._body += body[:room]
        self._is_full = self._is_full or len(body) > room

    def on_message_complete(self) -> None:
        if self.status is None:  # an interim answer (100, 103): the real one is still to come
            self._headers.clear()
        else:
            self.is_whole = True

    def reply(self) -> Reply:
        if self.status is None:
            raise CallFailed("connection")
        return Reply(
            status=self.status,
            headers=tuple(self._headers),
            body=bytes(self._body),
            is_cut=self.is_cut,
        )

    def _promised_more(self) -> bool:
        """Whether the end of the connection is not the proper end of the body."""
        return any(name in {"content-length", "transfer-encoding"} for name, _ in self._headers)


def _head(method: str, target: Target, headers: Mapping[str, str]) -> bytes:
    fields = {
        "host": target.authority,
        **headers,
        "accept-encoding": "identity",
        "connection": "close",
    }
    lines = [
        f"{method} {target.path} HTTP/1.1",
        *(f"{name}: {text}" for name, text in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _leave(writer: asyncio.StreamWriter, *, is_whole: bool) -> None:
    """Close in good order what has ended; drop a connection on which more would come."""
    if is_whole:
        writer.close()
    else:
        writer.transport.abort()
