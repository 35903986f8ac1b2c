"""Live feeds: replay and life are one, slow readers cost nothing, and a thousand fit a process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import Overloaded
from guilder.kernel.ids import UserId
from guilder.notifications.api import TooManyStreams
from guilder.notifications.domain.records import FeedItem
from guilder.notifications.http.stream import StreamRoutes
from guilder.notifications.service.reading import ShownItem
from guilder.notifications.service.streams import Stream, StreamHub
from guilder.platform.db import Database
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.identifiers import new_id
from tests.support.http_server import Address, serving
from tests.support.newsstand import Newsstand, Person, payment
from tests.support.shop import ANNA, Tokens, caller
from tests.support.waiting import until

FOREVER = float("inf")
PATIENCE_S = 60
Items = AsyncGenerator[ShownItem | None, None]


@pytest.fixture
def hub(db: Database, stand: Newsstand) -> StreamHub:
    return StreamHub(db, feed=stand.reading)


async def next_of(items: Items) -> FeedItem:
    """The next item, heartbeats left out."""
    async with asyncio.timeout(PATIENCE_S):
        async for shown in items:
            if shown is not None:
                return shown.item
    raise AssertionError("the stream ended")


async def following(hub: StreamHub, user_id: UserId, *, after: int | None) -> Items:
    stream = await hub.open(user_id, after=after)
    return hub.follow(stream, until=FOREVER)


async def test_a_stream_replays_what_was_missed_and_goes_on_living(
    stand: Newsstand, hub: StreamHub
) -> None:
    anna = await stand.person("Anna")
    await stand.hear(*(payment(None, anna.wallet) for _ in range(3)))

    async with aclosing(await following(hub, anna.id, after=2)) as items:
        missed = [(await next_of(items)).sequence for _ in range(2)]
        await stand.hear(payment(None, anna.wallet))
        live = (await next_of(items)).sequence

    assert (missed, live) == ([3, 4], 5)


async def test_a_stream_without_a_cursor_begins_with_what_comes_next(
    stand: Newsstand, hub: StreamHub
) -> None:
    anna = await stand.person("Anna")
    items = await following(hub, anna.id, after=None)

    async with aclosing(items):
        await stand.hear(payment(None, anna.wallet))
        item = await next_of(items)

    assert (item.sequence, item.template) == (2, "deposit_received")


async def test_a_cursor_from_the_future_misses_nothing(stand: Newsstand, hub: StreamHub) -> None:
    anna = await stand.person("Anna")

    async with aclosing(await following(hub, anna.id, after=10**12)) as items:
        await stand.hear(payment(None, anna.wallet))
        item = await next_of(items)

    assert item.sequence == 2


async def test_every_stream_of_a_person_gets_everything_and_of_others_nothing(
    stand: Newsstand, hub: StreamHub
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    streams = [await following(hub, anna.id, after=0) for _ in range(3)]
    bens = await following(hub, ben.id, after=0)

    await stand.hear(payment(anna.wallet, ben.wallet))

    for items in streams:
        told = [(await next_of(items)).template for _ in range(2)]
        assert told == ["account_details", "payment_sent"]
    assert [(await next_of(bens)).template for _ in range(2)] == [
        "account_details",
        "payment_received",
    ]
    for items in (*streams, bens):
        await items.aclose()
    assert hub.count == 0


async def test_a_slow_reader_holds_a_short_queue_and_loses_nothing(
    stand: Newsstand, hub: StreamHub
) -> None:
    anna = await stand.person("Anna")
    stream = await hub.open(anna.id, after=0)
    await stand.hear(*(payment(None, anna.wallet) for _ in range(300)))

    async with aclosing(hub.follow(stream, until=FOREVER)) as items:
        got = [(await next_of(items)).sequence]
        await until(lambda: _is_full(stream), "its queue is full")
        while len(got) < 301:
            assert len(stream.waiting) <= 32
            got.append((await next_of(items)).sequence)

    assert got == list(range(1, 302))


async def _is_full(stream: Stream) -> bool:
    return stream.room == 0


async def test_a_stream_beats_while_nothing_happens_and_ends_with_its_token(
    stand: Newsstand, db: Database
) -> None:
    anna = await stand.person("Anna")
    moments = iter([100.0] * 8 + [200.0] * 8)
    hub = StreamHub(db, feed=stand.reading, heartbeat_s=0.01, now=lambda: next(moments))
    stream = await hub.open(anna.id, after=None)

    beats = [item async for item in hub.follow(stream, until=200.0)]

    assert beats
    assert set(beats) == {None}
    assert hub.count == 0


async def test_streams_are_limited_by_person_and_by_process(stand: Newsstand, db: Database) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    hub = StreamHub(db, feed=stand.reading, most=3, most_of_one=2, heartbeat_s=0.01)
    opened = [await following(hub, anna.id, after=None) for _ in range(2)]
    for items in opened:
        await anext(items)

    with pytest.raises(TooManyStreams):
        await hub.open(anna.id, after=None)
    bens = await following(hub, ben.id, after=None)
    await anext(bens)
    with pytest.raises(Overloaded):
        await hub.open(ben.id, after=None)

    for items in (*opened, bens):
        await items.aclose()
    assert await hub.open(anna.id, after=None)


async def test_streams_opened_at_the_same_time_are_counted_before_they_are_open(
    stand: Newsstand, db: Database
) -> None:
    anna, ben = await stand.person("Anna"), await stand.person("Ben")
    hub = StreamHub(db, feed=stand.reading, most=5, most_of_one=3)

    annas = await asyncio.gather(
        *(hub.open(anna.id, after=None) for _ in range(20)), return_exceptions=True
    )
    bens = await asyncio.gather(
        *(hub.open(ben.id, after=None) for _ in range(20)), return_exceptions=True
    )

    assert [type(one) for one in annas].count(Stream) == 3
    assert [type(one) for one in annas].count(TooManyStreams) == 17
    assert [type(one) for one in bens].count(Stream) == 2
    assert [type(one) for one in bens].count(Overloaded) == 18


async def test_a_stream_that_nobody_follows_or_that_fails_to_open_takes_no_place(
    stand: Newsstand, db: Database
) -> None:
    anna = await stand.person("Anna")
    hub = StreamHub(db, feed=stand.reading, most=1)

    for _ in range(3):
        await hub.open(anna.id, after=None)
        opening = asyncio.create_task(hub.open(anna.id, after=None))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    assert await hub.open(anna.id, after=None)


async def test_a_process_that_ends_ends_its_streams(stand: Newsstand, hub: StreamHub) -> None:
    anna = await stand.person("Anna")
    items = await following(hub, anna.id, after=None)
    waiting = asyncio.create_task(anext(items, "ended"))
    await until(lambda: _joined(hub), "the stream has joined")

    hub.close()

    assert await waiting == "ended"
    with pytest.raises(Overloaded):
        await hub.open(anna.id, after=None)


async def _joined(hub: StreamHub) -> bool:
    return hub.count == 1


async def test_a_thousand_streams_in_one_process_each_hear_their_own_news(
    stand: Newsstand, hub: StreamHub
) -> None:
    anna = await stand.person("Anna")
    people = [
        Person(id=UserId(new_id()), wallet=anna.wallet, email="", phone="") for _ in range(999)
    ]
    streams = [await hub.open(person.id, after=0) for person in (anna, *people)]
    reading = [
        asyncio.create_task(next_of(hub.follow(stream, until=FOREVER))) for stream in streams
    ]

    wallets = [replace_wallet(stand, person) for person in people]
    await stand.hear(*wallets)

    async with asyncio.timeout(PATIENCE_S):
        items = await asyncio.gather(*reading)
    assert [item.user_id for item in items] == [stream.user_id for stream in streams]


def replace_wallet(stand: Newsstand, person: Person):
    """Somebody's own new wallet."""
    return stand.wallet(replace(person, wallet=new_id()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A stream's route on a socket, and whom Anna's token is for."""

    address: Address
    tokens: Tokens

    @asynccontextmanager
    async def opened(self, **headers: str) -> AsyncIterator[httpx2.Response]:
        async with (
            self.address.client() as http,
            http.stream(
                "GET",
                "/api/v1/notifications/stream",
                headers={"Authorization": f"Bearer {ANNA}", **headers},
            ) as answer,
        ):
            yield answer


@asynccontextmanager
async def served(hub: StreamHub, person: Person, *, expires_at: int | None = None):
    who = replace(caller(frozenset()), user_id=person.id, expires_at=expires_at)
    tokens = Tokens(callers={ANNA: who})
    dispatcher = Dispatcher(
        {"notifications": StreamRoutes(hub).routes()},
        verifier=tokens,
        metrics=RequestMetrics(CollectorRegistry()),
        service_names=("notification",),
    )
    async with serving(HttpApp(dispatcher.respond, proxies=TrustedProxies())) as address:
        yield Served(address=address, tokens=tokens)


async def test_events_have_ids_to_come_back_with(stand: Newsstand, hub: StreamHub) -> None:
    anna = await stand.person("Anna")
    async with served(hub, anna) as place:
        async with place.opened() as answer:
            lines = answer.aiter_lines()
            opening = [await anext(lines) for _ in range(3)]
            await stand.hear(payment(None, anna.wallet), payment(None, anna.wallet))
            first = [await anext(lines) for _ in range(4)]
        async with place.opened(**{"Last-Event-ID": "2"}) as again:
            lines = again.aiter_lines()
            second = [await anext(lines) for _ in range(7)][3:]

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert opening == ["retry: 2000", ": open", ""]
    assert (first[0], first[1], first[3]) == ("id: 2", "event: notification", "")
    body = json.loads(first[2].removeprefix("data: "))
    assert (body["type"], body["sequence"], body["is_read"]) == ("deposit_received", 2, False)
    assert second[0] == "id: 3"
    await until(lambda: _empty(hub), "both streams are gone")


async def _empty(hub: StreamHub) -> bool:
    return hub.count == 0


async def test_a_stream_over_http_ends_when_its_token_does(
    stand: Newsstand, hub: StreamHub
) -> None:
    anna = await stand.person("Anna")

    async with (
        served(hub, anna, expires_at=int(time.time()) + 1) as place,
        place.opened() as answer,
        asyncio.timeout(PATIENCE_S),
    ):
        body = await answer.aread()

    assert body.startswith(b"retry: 2000\n")
    assert hub.count == 0


@pytest.mark.parametrize("said", ["-1", "1.5", "٣", "9" * 19, "abc"])
async def test_an_id_that_no_event_had_is_refused(
    stand: Newsstand, hub: StreamHub, said: str
) -> None:
    anna = await stand.person("Anna")

    async with served(hub, anna) as place, place.opened() as warm:
        assert warm.status_code == 200
        raw = b"GET /api/v1/notifications/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        raw += f"Authorization: Bearer {ANNA}\r\nLast-Event-ID: {said}\r\n\r\n".encode()
        answered = await place.address.exchange(raw)

    assert answered.startswith(b"HTTP/1.1 400")
    assert b"Last-Event-ID" in answered
