"""One request as it came in: its head, who sent it, and the way to read its body.

What a client says about forwarding counts only when it is a proxy we were told to trust.
"""

from __future__ import annotations

import re
from collections.abc import (
    AsyncGenerator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from typing import Any, Final

from guilder.kernel.errors import BadRequest
from guilder.platform.auth import Caller
from guilder.platform.http.forwarded import FORWARDING, TrustedProxies
from guilder.platform.http.metrics import Meter
from guilder.platform.http.refusals import ClientGone, PayloadTooLarge
from guilder.platform.http.reply import HeaderPairs, Receive
from guilder.platform.identifiers import new_id_text

RawHeaders = dict[bytes, bytes]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACE_PARENT: Final = re.compile(rb"[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
# Where two of these disagree, two readers of one request could believe different things.
_SINGLE: Final = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"origin",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    }
)


class Headers(Mapping[str, str]):
    """Request headers by lower-case name. Values are Latin-1, as HTTP defines them."""

    __slots__ = ("raw",)

    def __init__(self, raw: RawHeaders) -> None:
        self.raw = raw

    def __getitem__(self, name: str) -> str:
        return self.raw[name.encode("latin-1")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self.raw)

    def __len__(self) -> int:
        return len(self.raw)


class Incoming:
    """One request's head. ``caller`` is known once ``identified``; ``meter`` counts the answer.

    ``token_is_bad`` once its token was looked at and refused. ``key`` names the operation where
    the request moves money; b"" elsewhere, and where the caller's own cannot be kept.
    """

    __slots__ = (
        "caller",
        "client_address",
        "headers",
        "host",
        "identified",
        "key",
        "meter",
        "method",
        "path",
        "query_string",
        "raw",
        "receive",
        "request_id",
        "scheme",
        "token_is_bad",
    )

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Receive, *, proxies: TrustedProxies
    ) -> None:
        pairs = scope["headers"]
        raw: RawHeaders = dict(pairs)
        self.request_id = _request_id(raw)
        if len(raw) != len(pairs):
            raw = _join_doubled(pairs)
        self.raw = raw
        self.headers = Headers(raw)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope["query_string"]
        self.scheme: str = scope["scheme"]
        self.receive = receive
        peer = scope["client"]
        self.client_address: str = peer[0] if peer else ""
        self.host = raw.get(b"host", b"")
        self.caller: Caller | None = None
        self.identified = False
        self.token_is_bad = False
        self.key = b""
        self.meter: Meter | None = None
        if not FORWARDING.isdisjoint(raw):
            self._read_forwarding(proxies)

    def _read_forwarding(self, proxies: TrustedProxies) -> None:
        raw = self.raw
        said = {name: raw.pop(name) for name in FORWARDING if name in raw}
        if self.client_address not in proxies:
            return
        hops = said.get(b"x-forwarded-for", b"").decode("latin-1")
        self.client_address = proxies.client_of(hops, peer=self.client_address)
        if said.get(b"x-forwarded-proto") in {b"http", b"https"}:
            self.scheme = said[b"x-forwarded-proto"].decode("ascii")
        self.host = said.get(b"x-forwarded-host", self.host)

    def token(self) -> str | None:
        """The bearer token as it was sent, not verified; None without one."""
        value = self.raw.get(b"authorization")
        if value is None or value[:7].lower() != b"bearer ":
            return None
        return value[7:].decode("latin-1")

    def key_header(self) -> HeaderPairs:
        """What tells the caller, whatever the answer is, with which key repeating is safe."""
        return [(b"idempotency-key", self.key)] if self.key else []

    def trace_id(self) -> str | None:
        """The trace that the request belongs to (W3C Trace Context); None without a sound one."""
        said = self.raw.get(b"traceparent")
        if said is None:
            return None
        found = _TRACE_PARENT.fullmatch(said)
        return None if found is None else found[1].decode("ascii")

    async def body(self, *, limit: int) -> bytes:
        """The whole body.

        Raises:
            PayloadTooLarge: it is longer than ``limit`` bytes, said or sent.
            ClientGone: the connection was lost before the end of it.
        """
        self._refuse_said_length(limit)
        message = await self.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise PayloadTooLarge
            return body
        return await self._rest_of_body(message, limit=limit)

    async def _rest_of_body(self, message: MutableMapping[str, Any], *, limit: int) -> bytes:
        body = bytearray()
        while True:
            if message["type"] != "http.request":
                raise ClientGone
            body += message.get("body", b"")
            if len(body) > limit:
                raise PayloadTooLarge
            if not message.get("more_body"):
                return bytes(body)
            message = await self.receive()

    def has_body(self) -> bool:
        """Whether a body follows the head, however long."""
        return b"transfer-encoding" in self.raw or self.raw.get(b"content-length", b"0") != b"0"

    async def pieces(self, *, limit: int) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, for whoever passes it on.

        Raises:
            PayloadTooLarge: it is longer than ``limit`` bytes, said or sent.
            ClientGone: the connection was lost before the end of it.
        """
        left = limit
        more = True
        self._refuse_said_length(limit)
        while more:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ClientGone
            piece = message.get("body", b"")
            left -= len(piece)
            if left < 0:
                raise PayloadTooLarge
            yield piece
            more = message.get("more_body", False)

    def _refuse_said_length(self, limit: int) -> None:
        said = self.raw.get(b"content-length")
        if said is not None and (not said.isdigit() or len(said) > 18 or int(said) > limit):
            raise PayloadTooLarge


def _request_id(raw: RawHeaders) -> str:
    """The id that the client gave its request, where it is well-formed, or a new one."""
    given = raw.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return new_id_text()


def _join_doubled(pairs: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Headers given several times as one list, as HTTP says.

    Raises:
        BadRequest: a header that has one value by definition is there twice.
    """
    raw: RawHeaders = {}
    for name, value in pairs:
        if name not in raw:
            raw[name] = value
        elif name in _SINGLE:
            raise BadRequest("A header that must be there once is there twice.")
        else:
            raw[name] = raw[name] + (b"; " if name == b"cookie" else b", ") + value
    return raw
