"""The live feed as server-sent events (the HTML standard's ``text/event-stream``)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from guilder.kernel.errors import ValidationFailed
from guilder.notifications.api import TooManyStreams
from guilder.notifications.http.feed import TAG, notice_body
from guilder.notifications.service.reading import ShownItem
from guilder.notifications.service.streams import Stream, StreamHub
from guilder.platform.http.route import Access, Request, Route, StreamAnswer

_RETRY: Final = b"retry: 2000\n: open\n\n"
_BEAT: Final = b": beat\n\n"
_MOST_DIGITS: Final = 18
_FOREVER: Final = float("inf")


class StreamRoutes:
    """The handler behind the route."""

    def __init__(self, hub: StreamHub) -> None:
        self._hub = hub

    async def stream(self, request: Request) -> StreamAnswer:
        """New notifications as they come, each with its sequence as the event's id.

        A client that comes back with ``Last-Event-ID`` first gets what it has missed. The stream
        ends when the token expires.
        """
        after = _last_event_id(request.headers.get("last-event-id"))
        caller = request.user
        stream = await self._hub.open(caller.user_id, after=after)
        until = _FOREVER if caller.expires_at is None else float(caller.expires_at)
        return StreamAnswer(
            chunks=_events(self._hub, stream, until=until),
            content_type="text/event-stream",
            headers=(("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")),
        )

    def routes(self) -> tuple[Route, ...]:
        """The route. A document of requests and whole answers has no place for one without end."""
        return (
            Route(
                method="GET",
                path="/notifications/stream",
                handler=self.stream,
                access=Access.ANY_CALLER,
                summary="Stream one's notifications",
                tag=TAG,
                raises=(TooManyStreams, ValidationFailed),
                listed=False,
            ),
        )


async def _events(hub: StreamHub, stream: Stream, *, until: float) -> AsyncGenerator[bytes, None]:
    async with aclosing(hub.follow(stream, until=until)) as items:
        yield _RETRY
        async for shown in items:
            yield _BEAT if shown is None else _event(shown)


def _event(shown: ShownItem) -> bytes:
    # JSON has no line breaks outside of escapes, so one data line holds it
    data = msgspec.json.encode(notice_body(shown))
    return b"id: %d\nevent: notification\ndata: %b\n\n" % (shown.item.sequence, data)


def _last_event_id(said: str | None) -> int | None:
    if said is None or said == "":
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS):
        raise ValidationFailed(
            fields={"Last-Event-ID": "must be the id of an event of this stream"}
        )
    return int(said)
