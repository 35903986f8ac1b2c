"""Routes of notifications: parse, call one use case, answer."""

from __future__ import annotations

from guilder.notifications.http.choosing import ChoosingRoutes
from guilder.notifications.http.feed import FeedRoutes
from guilder.notifications.http.sandbox import SandboxRoutes
from guilder.notifications.http.sending import SendingRoutes
from guilder.notifications.http.stream import StreamRoutes
from guilder.notifications.service.reading import Choosing, FeedReading, SandboxReading
from guilder.notifications.service.sending import Sending
from guilder.notifications.service.streams import StreamHub
from guilder.notifications.service.wording import Writer
from guilder.platform.http.route import Route


def routes(
    *,
    reading: FeedReading,
    choosing: Choosing,
    sending: Sending,
    hub: StreamHub,
    writer: Writer,
    sandbox: SandboxReading | None,
) -> tuple[Route, ...]:
    """Every route of notifications; the outbox only where it can be read."""
    time_zone = choosing.default.time_zone
    found = (
        *FeedRoutes(reading).routes(),
        *StreamRoutes(hub).routes(),
        *ChoosingRoutes(choosing).routes(),
        *SendingRoutes(sending, writer=writer, time_zone=time_zone).routes(),
    )
    return found if sandbox is None else (*found, *SandboxRoutes(sandbox).routes())
