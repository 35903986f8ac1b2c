"""A reply is what goes back over the wire: status, headers, and a body or a stream of pieces.

Every reply gets its request id and the headers that keep browsers from guessing or storing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from guilder.kernel.invariant import invariant
from guilder.platform.http.route import Answer, RawAnswer, StreamAnswer

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Stream = AsyncGenerator[bytes, None]
HeaderPairs = list[tuple[bytes, bytes]]

WHOLE_ANSWER: Final = "guilder.whole_answer"
"""The name, in a scope's extensions, of what sends a whole answer at once."""

JSON: Final = b"application/json"
_HTML: Final = b"text/html"

_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_NO_STORE: Final = (b"cache-control", b"no-store")
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_PAGE_HEADERS: Final = (
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_PAGE_POLICY: Final = (
    b"default-src 'self'; img-src 'self' data:; object-src 'none'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def _plain(value: Any) -> Any:
    """What msgspec does not know by itself: our own kinds of text and time."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return datetime.combine(value.date(), value.timetz())
    raise NotImplementedError(f"no answer has a {type(value).__name__}")


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode


class Wire(NamedTuple):
    """The connection a reply goes to. ``send_whole`` writes a small reply in one go, if it can."""

    send: Send
    receive: Receive
    send_whole: Callable[[int, HeaderPairs, bytes], bool] | None


def wire_of(scope: Mapping[str, Any], receive: Receive, send: Send) -> Wire:
    """The connection of an ASGI request."""
    extensions = scope.get("extensions")
    # Taken out, because it refers to what refers to the scope: left in, a request would go only
    # with the next search for garbage.
    return Wire(send, receive, extensions.pop(WHOLE_ANSWER, None) if extensions else None)


class Reply:
    """One answer, ready to send. ``stream`` replaces ``body``."""

    __slots__ = ("body", "content_type", "headers", "status", "stream")

    def __init__(
        self,
        *,
        status: int,
        content_type: bytes | None,
        body: bytes = b"",
        headers: HeaderPairs | None = None,
        stream: Stream | None = None,
    ) -> None:
        self.status = status
        self.content_type = content_type
        self.body = body
        self.headers: HeaderPairs = [] if headers is None else headers
        self.stream = stream


def envelope(data: Any, *, meta: Mapping[str, Any] | None = None) -> bytes:
    """``{"success": true, "data": …}``, with ``meta`` where a list has one."""
    if meta is None:
        return b'{"success":true,"data":%b}' % _encode(data)
    return b'{"success":true,"data":%b,"meta":%b}' % (_encode(data), _encode(meta))


def header_pairs(headers: Iterable[tuple[str, str]]) -> HeaderPairs:
    """Headers of an answer as they go on the wire."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def reply_of(answer: Answer | RawAnswer | StreamAnswer, *, status: int) -> Reply:
    """What a handler gave back, as a reply; ``status`` is the route's own."""
    pairs = header_pairs(answer.headers)
    if isinstance(answer, Answer):
        status = answer.status or status
        if status == 204:
            return Reply(status=204, content_type=None, headers=pairs)
        body = envelope(answer.data, meta=answer.meta)
        return Reply(status=status, content_type=JSON, body=body, headers=pairs)
    content_type = answer.content_type.encode("latin-1")
    if isinstance(answer, RawAnswer):
        return Reply(
            status=answer.status, content_type=content_type, body=answer.body, headers=pairs
        )
    return Reply(
        status=answer.status, content_type=content_type, headers=pairs, stream=answer.chunks
    )


async def send_reply(
    wire: Wire, reply: Reply, *, request_id: str, https: bool, head_only: bool
) -> None:
    """Send a reply; ``head_only`` keeps the body back (HEAD).

    Raises:
        InvariantViolation: a header's value would end its line and begin another.
    """
    head = _head(reply, request_id=request_id, https=https)
    if reply.stream is not None:
        await wire.send({"type": "http.response.start", "status": reply.status, "headers": head})
        await _send_stream(wire, reply.stream, head_only=head_only)
        return
    if reply.status not in {204, 304}:
        head.append((b"content-length", b"%d" % len(reply.body)))
    body = b"" if head_only else reply.body
    if wire.send_whole is not None and wire.send_whole(reply.status, head, body):
        return
    await wire.send({"type": "http.response.start", "status": reply.status, "headers": head})
    await wire.send({"type": "http.response.body", "body": body})


async def _send_stream(wire: Wire, stream: Stream, *, head_only: bool) -> None:
    """Send a stream to its end, or until the client leaves: a stream of events has no end."""

    async def pass_on() -> None:
        async with aclosing(stream):
            async for chunk in stream:
                if head_only:
                    break
                await wire.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await wire.send({"type": "http.response.body", "body": b""})

    async def until_gone() -> None:
        while (await wire.receive())["type"] != "http.disconnect":
            pass

    passing, leaving = asyncio.create_task(pass_on()), asyncio.create_task(until_gone())
    try:
        await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        passing.cancel()
        leaving.cancel()
        ended, _ = await asyncio.gather(passing, leaving, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended


def _head(reply: Reply, *, request_id: str, https: bool) -> HeaderPairs:
    head = [(b"x-request-id", request_id.encode("ascii")), _NOSNIFF]
    extra = reply.headers
    content_type = reply.content_type
    if content_type is JSON:
        head.append((b"content-type", JSON))
        head.append(_NO_STORE)
    elif content_type is not None:
        head.append((b"content-type", content_type))
        head += _page_headers(content_type, extra)
    if https:
        head.append(_HSTS)
    for name, value in extra:
        # The server does not look at it again, and a route may answer with what somebody wrote.
        invariant(b"\n" not in value and b"\r" not in value, "a header is one line")
        head.append((name, value))
    return head


def _page_headers(content_type: bytes, extra: HeaderPairs) -> HeaderPairs:
    """What an answer that is not our own JSON needs, unless the route has said it itself."""
    said = {name.lower() for name, _ in extra}
    head: HeaderPairs = [] if b"cache-control" in said else [_NO_STORE]
    if content_type.startswith(_HTML):
        head += _PAGE_HEADERS
        if b"content-security-policy" not in said:
            head.append((b"content-security-policy", _PAGE_POLICY))
    return head
