"""The server's HTTP/1.1 protocol: uvicorn's own, with limits on how slow and how large is allowed.

A connection that has not sent a whole request head in time is closed, also when it never sent a
byte; so is one whose body comes too slowly. It costs a timer for each connection, and none for a
request.

What was asked for whole is answered, whatever comes after it, as long as the client holds its side
of the connection open: an error is told of the request that has it, never in the place of another's
answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from guilder.kernel.errors import BadRequest, Overloaded, Refusal
from guilder.platform.http.refusals import HeadTooLarge, RequestTimeout
from guilder.platform.http.reply import JSON, WHOLE_ANSWER, HeaderPairs
from guilder.platform.http.status import refusal_reply
from guilder.platform.identifiers import new_id_text

HEAD_TIMEOUT_S: Final = 10.0
BODY_TIMEOUT_S: Final = 30.0
SLOWEST_BODY_BYTES_PER_S: Final = 16 * 1024
STALL_TIMEOUT_S: Final = 30.0
LINGER_S: Final = 2.0
"""So long a client has to read why its connection is closed, and to close it."""
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
MAX_TRAILER_BYTES: Final = 4 * 1024
MOST_WAITING: Final = 32
"""So many requests of one connection wait for the answer to the one before them."""

_TWO_SITES: Final = "The request's target and its Host header name different sites."


def _write_whole(
    cycle: RequestResponseCycle, status: int, headers: HeaderPairs, body: bytes
) -> bool:
    """Write a whole answer at once; False, with nothing written, if it has to go piece by piece.

    It does what `RequestResponseCycle.send` does in two messages: one write instead of two is one
    system call and one packet less, a fifth of what a small request costs.
    """
    if cycle.disconnected:
        return True
    if cycle.flow.write_paused or cycle.response_started:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        lines += (name, b": ", value, b"\r\n")
    lines += (b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
    cycle.transport.write(b"".join(lines))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _last_words(refusal: Refusal, default_headers: HeaderPairs) -> bytes:
    """The answer to what never became a request that the application could have answered."""
    request_id = new_id_text()
    reply = refusal_reply(refusal, request_id=request_id)
    headers = (
        *default_headers,
        (b"x-request-id", request_id.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"content-type", JSON),
        (b"cache-control", b"no-store"),
        *reply.headers,
        (b"content-length", b"%d" % len(reply.body)),
        (b"connection", b"close"),
    )
    lines = [STATUS_LINE[reply.status], *(b"%b: %b\r\n" % pair for pair in headers)]
    return b"".join((*lines, b"\r\n", reply.body))


class _NoRequest(Exception):
    """Ends the parser's work. The refusal itself would remember this connection, and this it."""


class _Line:
    """What an answer knows of its connection."""

    __slots__ = ("close", "is_closing", "write")

    write: Callable[[bytes], None]
    is_closing: Callable[[], bool]
    close: Callable[[], None]


class LimitedProtocol(HttpToolsProtocol):
    """Use it as ``uvicorn.Config(http=LimitedProtocol)``; subclasses may set other limits.

    A body may take ``body_timeout_s``, and longer only while it keeps up the slowest rate. A client
    that reads nothing of what it is sent for ``stall_timeout_s`` is cut off.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    body_timeout_s = BODY_TIMEOUT_S
    stall_timeout_s = STALL_TIMEOUT_S

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # A connection owes its first request from the start; later ones may be waited for.
        self._in_head = True
        self._in_message = True
        self._since = self.loop.time()
        self._chunk_bytes = 0
        self._message_bytes = 0
        self._bytes_since_body = 0
        self._follows_another = False  # in what came last
        self._began_behind_another = False
        self._reads_on = False
        self._running: RequestResponseCycle | None = None
        self._farewell: Refusal | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._line = _Line()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        super().connection_made(transport)
        self._line.write = transport.write
        self._line.is_closing = transport.is_closing
        self._line.close = self._hang_up
        self._watch = self.loop.call_later(self.head_timeout_s, self._check_pace)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._watch, self._stall, self._linger):
            if timer is not None:
                timer.cancel()
        queued = [cycle for cycle, _ in self.pipeline]
        for cycle in (self._running, *queued):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)
        # What waited refers to what it waited in: nobody else would let go of it for long.
        self.pipeline.clear()
        for cycle in queued:
            cycle.scope.clear()  # type: ignore[attr-defined] # it is a dict
        self._running = self.cycle = None  # type: ignore[assignment] # as before the first
        self._farewell = None  # it remembers where it was raised
        self._line = _Line()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.stall_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
        super().resume_writing()

    def eof_received(self) -> None:
        self._cut_off_late()

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self._part()

    def data_received(self, data: bytes) -> None:
        if self._farewell is not None or self._linger is not None:
            return
        self._chunk_bytes = len(data)
        self._message_bytes += self._chunk_bytes
        self._bytes_since_body += self._chunk_bytes
        self._follows_another = False
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._close_with(BadRequest())
            return
        if self._in_head:
            if self._message_bytes > MAX_HEAD_BYTES:
                self._close_with(HeadTooLarge())
        elif self._in_message and self._bytes_since_body > MAX_TRAILER_BYTES:
            self._close_with(HeadTooLarge())

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._read_on()
            else:
                return

    def _read_on(self) -> None:
        """Ignore that the client would upgrade, as any server may.

        The parser takes what follows such a head for another protocol. It is this request's body,
        as its head says, so it is given to a new parser after a head that says no more than that.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        framing = (
            b"%b: %b\r\n" % (name, value)
            for name, value in self.headers
            if name in {b"content-length", b"transfer-encoding"}
        )
        self._reads_on = True
        try:
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(framing))
        finally:
            self._reads_on = False

    def on_message_begin(self) -> None:
        if self._reads_on:
            return
        self._in_head = self._in_message = True
        self._since = self.loop.time()
        self._began_behind_another = self._follows_another
        self._message_bytes = 0 if self._follows_another else self._chunk_bytes
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._reads_on:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a chunked body (trailers) is nobody's header: whoever stands before this
        # server has not looked at it, and a head that was judged once does not change any more.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._reads_on:
            return
        refusal = self._refusal_of_head()
        if refusal is not None:
            self._close_with(refusal)
            raise _NoRequest
        super().on_headers_complete()  # which may find that the target is none
        self._in_head = False
        self._bytes_since_body = 0
        cycle = self.cycle
        cycle.transport = self._line  # type: ignore[assignment] # all of a transport that it uses
        if cycle is not self._running:
            # It waits for others, whose client may leave meanwhile: that is seen only by reading.
            self.flow.resume_reading()
        if not cycle.access_log:
            # ASGI's extensions are dicts by type; this one is a function, for our application only.
            self.scope["extensions"] = {WHOLE_ANSWER: partial(_write_whole, cycle)}  # type: ignore[dict-item] # see above

    def on_body(self, body: bytes) -> None:
        self._bytes_since_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # so the parser believes; see `_read_on`
        self._in_message = False
        self._follows_another = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._linger is not None:
            return  # it was the last one, whatever waits behind it
        was_last = not self.pipeline
        super().on_response_complete()
        if self._farewell is not None and was_last:
            self._end(self._farewell)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _should_upgrade(self) -> bool:
        return False

    def _refusal_of_head(self) -> Refusal | None:
        # What came beyond the limit may be body, so only then are the headers themselves measured.
        is_long = self._message_bytes > MAX_HEAD_BYTES or self._began_behind_another
        if len(self.headers) > MAX_HEADERS or (is_long and self._measured_head() > MAX_HEAD_BYTES):
            return HeadTooLarge()
        if not self.url.startswith(b"/") and not self._is_of_one_site():
            return BadRequest(_TWO_SITES)
        return Overloaded() if len(self.pipeline) >= MOST_WAITING else None

    def _is_of_one_site(self) -> bool:
        """Whether a target that names its site (as for a proxy) and the Host header agree.

        Where they do not, the target counts for whoever keeps to RFC 9112, and the header for who
        looks only at that: the check of hosts, and what is cached or signed for.
        """
        scheme, _, rest = self.url.partition(b"://")
        site = re.split(rb"[/?#]", rest, maxsplit=1)[0]
        said = [value for name, value in self.headers if name == b"host"]
        return scheme == self.url or [value.lower() for value in said] == [site.lower()]

    def _measured_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _check_pace(self) -> None:
        """Close the connection if its request is late, or look again when it would be."""
        wait_s = self._time_left_s()
        if wait_s <= 0:
            self._close_with(RequestTimeout())
        else:
            self._watch = self.loop.call_later(wait_s, self._check_pace)

    def _time_left_s(self) -> float:
        """Seconds until the client is late; a full turn while it is not the client who is."""
        cycle: RequestResponseCycle | None = self.cycle
        answered = cycle is None or cycle.response_complete
        if self._in_message:
            if self.flow.read_paused or (self._in_head and not answered):
                return self.head_timeout_s
            return self._since + self._allowed_s(answered=answered) - self.loop.time()
        # Stray line breaks stop uvicorn's keep-alive timer without beginning a request.
        waits_for_nothing = answered and self.timeout_keep_alive_task is None
        return 0 if waits_for_nothing else self.head_timeout_s

    def _allowed_s(self, *, answered: bool) -> float:
        if self._in_head:
            return self.head_timeout_s
        earned_s = 0 if answered else self._message_bytes / SLOWEST_BODY_BYTES_PER_S
        return self.body_timeout_s + earned_s

    def _close_with(self, refusal: Refusal) -> None:
        """Close, once all that was asked for before is answered, and say why.

        Who is refused is the request that is being read: none is done that was not read to its
        end. What still comes is dropped, not left unread: so it is seen when the client leaves, and
        what is on its way to it is not lost to a reset.
        """
        if self._farewell is not None or self._linger is not None or self.transport.is_closing():
            return
        self._farewell = refusal
        self.flow.resume_reading()
        half = self.cycle if self._in_message and not self._in_head else None
        if half is not None and self.pipeline and self.pipeline[0][0] is half:
            self.pipeline.popleft()
        running = self._running
        if running is None or running is half or running.response_complete:
            self._end(refusal, half=half)

    def _end(self, refusal: Refusal, *, half: RequestResponseCycle | None = None) -> None:
        """Close; say why to whoever was not answered. ``half``: what was not read to its end."""
        if self._linger is not None or self.transport.is_closing():
            return
        if half is None or not half.response_started:
            self.transport.write(_last_words(refusal, self.server_state.default_headers))
        if half is not None:
            half.disconnected = True
            half.waiting_for_100_continue = False
            half.message_event.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """Say no more, and close when the client has had time to read what was said.

        To close at once, with something unread, would reset the connection and take from the
        client what is on its way to it.
        """
        if self._linger is not None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._linger = self.loop.call_later(LINGER_S, self._part)
        try:
            self.transport.write_eof()
        except OSError:  # the client has gone meanwhile
            self.transport.abort()

    def _part(self) -> None:
        """Close; who does not take what is still to be sent is cut off."""
        self.transport.close()
        self._cut_off_late()

    def _cut_off_late(self) -> None:
        if self.transport.get_write_buffer_size():
            self._linger = self.loop.call_later(self.stall_timeout_s, self.transport.abort)
