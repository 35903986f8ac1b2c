"""Several requests on one connection: each has its own answer, and nothing else is one."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from guilder.platform.http.server_protocol import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MOST_WAITING,
    LimitedProtocol,
)
from tests.support.http_server import Address, serving
from tests.support.shop import ANNA, WALLET, Shop, shop_app, transfer_body
from tests.support.waiting import PATIENCE_S, until

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
LAST = LIVE + b"Connection: close\r\n\r\n"
PATHS = {
    "transfer": "/api/v1/transactions/transfer",
    "activate": f"/api/v1/wallets/{WALLET}/activate",
}


def post(path: str, body: bytes, *fields: str, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = "\r\n".join(
        [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {ANNA}",
            "Content-Type: application/json",
            *fields,
            framing,
            "",
            "",
        ]
    ).encode()
    return head + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)


def transfer(*fields: str, chunked: bool = False, amount: str = "1500.00") -> bytes:
    body = json.dumps(transfer_body(amount=amount)).encode()
    return post("/api/v1/transactions/transfer", body, *fields, chunked=chunked)


def answers(received: bytes) -> list[tuple[int, Any]]:
    """The status and the body of each answer, in order; an answer ends where its length says."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = [line.lower() for line in head.split(b"\r\n")]
        length = next(int(line[16:]) for line in lines if line.startswith(b"content-length: "))
        found.append((int(head.split()[1]), json.loads(rest[:length])))
        received = rest[length:]
    return found


@pytest_asyncio.fixture
async def shop() -> Shop:
    return Shop()


@pytest_asyncio.fixture
async def address(shop: Shop) -> AsyncIterator[Address]:
    async with serving(shop_app(shop)) as address:
        yield address


UPGRADES = {
    "something": ("Connection: Upgrade", "Upgrade: foo"),
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    "websocket": ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("wanted", UPGRADES)
async def test_a_body_is_a_body_though_its_client_would_upgrade(
    address: Address, wanted: str, *, chunked: bool
) -> None:
    sent = transfer(*UPGRADES[wanted], chunked=chunked, amount="12.00") + LAST

    told = answers(await address.exchange(sent))

    assert [status for status, _ in told] == [201, 200]
    assert told[0][1]["data"]["amount"] == "12.00"


async def test_what_looks_like_a_request_in_the_body_of_one_that_would_upgrade_is_none(
    address: Address, shop: Shop
) -> None:
    inner = transfer()
    head = post("/api/v1/wallets/" + WALLET + "/remark", b"", *UPGRADES["something"])
    head = head.replace(b"Content-Length: 0", b"Content-Length: %d" % len(inner))
    reader, writer = await address.connect()

    # In pieces, each of which the server has read before the next one comes.
    for piece in (LIVE + b"\r\n", head):
        writer.write(piece)
    await reader.readuntil(b'"live"}}')
    writer.write(inner)
    writer.write(LAST)
    told = answers(await reader.read())
    writer.close()

    assert [status for status, _ in told] == [400, 200]
    assert shop.calls == []


async def test_a_request_without_a_body_that_would_upgrade_is_answered_as_any(
    address: Address,
) -> None:
    get = LIVE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    told = answers(await address.exchange(get + get + LAST))

    assert [status for status, _ in told] == [200, 200, 200]


async def test_a_body_whose_framing_is_unclear_is_refused_though_its_client_would_upgrade(
    address: Address, shop: Shop
) -> None:
    sent = transfer(*UPGRADES["h2c"], "Transfer-Encoding: gzip") + LAST

    told = answers(await address.exchange(sent))

    assert [status for status, _ in told] == [400]
    assert shop.calls == []


@pytest.mark.parametrize(
    ("after", "status"),
    [
        (b"}", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 2 * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 400),
        (b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost:99999/ HTTP/1.1\r\nHost: localhost:99999\r\n\r\n", 400),
    ],
)
async def test_what_was_asked_for_is_answered_before_what_follows_it_is_refused(
    address: Address, shop: Shop, after: bytes, status: int
) -> None:
    told = answers(await address.exchange(transfer() + transfer() + after))

    assert [status for status, _ in told] == [201, 201, status]
    assert shop.calls == ["transfer"] * 2


@pytest.mark.parametrize("path", ["transfer", "activate"])
async def test_nothing_is_done_of_a_request_whose_body_breaks(
    address: Address, shop: Shop, path: str
) -> None:
    whole = json.dumps(transfer_body()).encode()
    sent = post(PATHS[path], whole, chunked=True).removesuffix(b"0\r\n\r\n") + b"zz\r\n"

    told = answers(await address.exchange(sent))

    assert [status for status, _ in told] == [400]
    assert shop.calls == []


async def test_many_small_requests_at_once_are_all_answered(address: Address) -> None:
    get = LIVE + b"X-Padding: " + b"y" * 2_000 + b"\r\n\r\n"
    assert len(get) * MOST_WAITING > MAX_HEAD_BYTES

    told = answers(await address.exchange(get * MOST_WAITING + LAST))

    assert [status for status, _ in told] == [200] * (MOST_WAITING + 1)


async def test_of_too_many_at_once_the_first_are_answered(address: Address) -> None:
    told = answers(await address.exchange((LIVE + b"\r\n") * 500))

    assert [status for status, _ in told] == [200] * (MOST_WAITING + 1) + [503]


async def test_nothing_is_left_of_a_connection_that_was_lost(shop: Shop) -> None:
    seen: weakref.WeakSet[LimitedProtocol] = weakref.WeakSet()

    class Seen(LimitedProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
            super().connection_made(transport)
            seen.add(self)

    async def are_forgotten() -> bool:
        return not seen

    async with serving(shop_app(shop), protocol=Seen) as address:
        gc.disable()
        try:
            for _ in range(5):
                await address.exchange(LIVE + b"X: y\r\n" * (MAX_HEADERS + 1) + b"\r\n")
                reader, writer = await address.connect()
                writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                writer.write((LIVE + b"\r\n") * 20)
                await reader.readuntil(b"hello")
                writer.transport.abort()
            await until(are_forgotten, "they are forgotten")
        finally:
            gc.enable()

    assert len(seen) == 0


async def test_a_target_that_is_none_is_refused_however_many_were_answered_before(
    address: Address,
) -> None:
    reader, writer = await address.connect()
    writer.write(LIVE + b"\r\n")
    await reader.readuntil(b'"live"}}')

    writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")

    assert [status for status, _ in answers(await reader.read())] == [400]
    writer.close()


async def test_a_head_that_comes_in_pieces_behind_a_request_is_measured(address: Address) -> None:
    reader, writer = await address.connect()
    writer.write(LIVE + b"\r\n" + LIVE + b"X: " + b"y" * 2 * MAX_HEAD_BYTES)
    await reader.readuntil(b'"live"}}')

    writer.write(b"\r\n\r\n")

    assert [status for status, _ in answers(await reader.read())] == [431]
    writer.close()


async def test_who_leaves_a_stream_is_missed_though_nonsense_followed_it(
    address: Address, shop: Shop
) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"hello")

    writer.write(b"}}}" * 1_000)
    writer.close()

    await asyncio.wait_for(shop.left.wait(), PATIENCE_S)
    assert shop.left.is_set()


async def test_answers_arrive_though_much_nonsense_follows_their_requests(
    address: Address,
) -> None:
    get = b"GET /docs/swagger-ui.js HTTP/1.1\r\nHost: localhost\r\n\r\n"

    received = await address.exchange(get + b"}" * 5_000_000)

    assert len(received) > 1_000_000
    assert received.count(b"HTTP/1.1 200 OK") == 1
    assert received.count(b"HTTP/1.1 400 Bad Request") == 1


async def test_an_answer_that_closes_arrives_though_much_nonsense_follows_its_request(
    address: Address,
) -> None:
    get = b"GET /docs/swagger-ui.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    received = await address.exchange(get + b"}" * 5_000_000)

    assert len(received) > 1_000_000
    assert received.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("field", ["Connection: close", "Connection: keep-alive"])
async def test_a_refusal_arrives_though_the_body_is_still_coming(
    address: Address, shop: Shop, field: str
) -> None:
    sent = post(PATHS["transfer"], b" " * 3_000_000, field) + LAST

    told = answers(await address.exchange(sent))

    assert [status for status, _ in told] == [413, 200][: 1 if "close" in field else 2]
    assert shop.calls == []


async def test_who_leaves_a_stream_is_missed_though_they_asked_for_more(
    address: Address, shop: Shop
) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"hello")

    writer.write(LIVE + b"\r\n")
    writer.close()

    await asyncio.wait_for(shop.left.wait(), PATIENCE_S)
    assert shop.left.is_set()


async def test_a_body_that_breaks_before_it_was_asked_for_is_told_once(address: Address) -> None:
    whole = json.dumps(transfer_body()).encode()
    sent = post(PATHS["transfer"], whole, "Expect: 100-continue", chunked=True)

    told = await address.exchange(sent.removesuffix(b"0\r\n\r\n") + b"zz\r\n")

    assert told.count(b"HTTP/1.1 400") == told.count(b"HTTP/1.1") == 1
