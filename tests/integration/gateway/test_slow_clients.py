"""Connections that send too slowly or too much are closed; raw sockets, no sleeps: wait for EOF."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from guilder.platform.http.server_protocol import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_TRAILER_BYTES,
    LimitedProtocol,
)
from tests.support.http_server import Address, serving
from tests.support.shop import ANNA, WALLET, shop_app

CHUNKED = (
    b"POST /api/v1/wallets/" + WALLET.encode() + b"/remark HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
)
AS_ANNA = b"Authorization: Bearer " + ANNA.encode() + b"\r\n"


class Impatient(LimitedProtocol):
    # Long enough for two hundred clients to say their half on a busy machine: one that is cut off
    # before it has would lose the answer to a reset.
    head_timeout_s = 1.0
    body_timeout_s = 1.0


@pytest_asyncio.fixture(scope="module")
async def address() -> AsyncIterator[Address]:
    async with serving(shop_app(), protocol=Impatient) as address:
        yield address


async def test_two_hundred_half_sent_requests_are_all_closed(address: Address) -> None:
    half = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: "

    answers = await asyncio.gather(*(address.exchange(half) for _ in range(200)))

    assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)


async def test_a_connection_that_never_sends_a_byte_is_closed(address: Address) -> None:
    assert (await address.exchange(b"")).startswith(b"HTTP/1.1 408")


async def test_a_head_that_drips_is_closed_though_it_never_pauses(address: Address) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET / HTTP/1.1\r\n")
    # Not to the end: what drips after the server has hung up resets the connection.
    answered = asyncio.create_task(reader.readuntil(b"\r\n"))

    while not answered.done():
        writer.write(b"X: y\r\n")
        await asyncio.wait({answered}, timeout=0.01)

    assert answered.result().startswith(b"HTTP/1.1 408")
    writer.close()


async def test_a_body_that_never_comes_is_closed(address: Address) -> None:
    head = (
        f"POST /api/v1/wallets/{WALLET}/remark HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {ANNA}\r\nContent-Type: application/json\r\n"
        'Content-Length: 100\r\n\r\n{"text":'
    )

    assert (await address.exchange(head.encode())).startswith(b"HTTP/1.1 408")


async def test_line_breaks_do_not_keep_a_connection(address: Address) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b'"live"}}')
    writer.write(b"\r\n")

    assert b"408" in await reader.read()
    writer.close()


async def test_requests_one_after_another_are_served(address: Address) -> None:
    reader, writer = await address.connect()
    for _ in range(3):
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readuntil(b'"live"}}')

    writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" * 2)
    assert (await reader.read()).count(b"HTTP/1.1 200") == 1
    writer.close()


async def test_an_answer_without_end_outlives_the_limits(address: Address) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"data: hello")

    # A half-sent request on another connection is closed later than this one would have been.
    await address.exchange(b"GET /")
    await address.exchange(b"GET /")

    assert not reader.at_eof()
    writer.close()


async def test_too_many_headers_are_refused(address: Address) -> None:
    headers = b"".join(b"X-%d: y\r\n" % number for number in range(MAX_HEADERS))
    request = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n"

    assert (await address.exchange(request)).startswith(b"HTTP/1.1 431")


async def test_a_header_that_is_too_long_is_refused(address: Address) -> None:
    start = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: "

    ended = await address.exchange(start + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n")
    endless = await address.exchange(start + b"y" * (MAX_HEAD_BYTES + 1))

    assert ended.startswith(b"HTTP/1.1 431")
    assert endless.startswith(b"HTTP/1.1 431")


async def test_a_path_that_is_too_long_is_refused(address: Address) -> None:
    request = b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"

    assert (await address.exchange(request)).startswith(b"HTTP/1.1 431")


async def test_a_large_body_is_no_large_head(address: Address) -> None:
    body = b'{"text": "' + b" " * 2 * MAX_HEAD_BYTES + b'"}'
    request = (
        f"POST /api/v1/wallets/{WALLET}/remark HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {ANNA}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    answered = await address.exchange(request + body)

    assert answered.startswith(b"HTTP/1.1 400")
    assert b"must have at most 500 characters" in answered


async def test_what_follows_a_body_is_not_heard(address: Address) -> None:
    end = b"\r\n2\r\n{}\r\n0\r\n" + AS_ANNA + b"X-Request-ID: after-the-end\r\n\r\n"

    stranger = await address.exchange(CHUNKED + b"Connection: close\r\n" + end)
    anna = await address.exchange(CHUNKED + b"Connection: close\r\n" + AS_ANNA + end)

    assert stranger.startswith(b"HTTP/1.1 401")
    assert anna.startswith(b"HTTP/1.1 200")
    assert b"after-the-end" not in stranger + anna


@pytest.mark.parametrize("field", [b"X-1: y\r\n", b"y"], ids=["many fields", "one long field"])
async def test_what_follows_a_body_without_end_is_cut_off(address: Address, field: bytes) -> None:
    reader, writer = await address.connect()
    writer.write(CHUNKED + AS_ANNA + b"\r\n2\r\n{}\r\n0\r\nX: ")
    answered = asyncio.create_task(reader.readuntil(b"\r\n"))

    sent = 0
    while not answered.done():
        writer.write(field * 100)
        sent += len(field) * 100
        await asyncio.wait({answered}, timeout=0.001)

    assert answered.result().startswith(b"HTTP/1.1 431")
    assert sent > MAX_TRAILER_BYTES
    writer.close()


async def test_small_chunks_are_no_trailers_however_many(address: Address) -> None:
    blanks = MAX_TRAILER_BYTES
    head = CHUNKED + AS_ANNA + b"Connection: close\r\n\r\n"

    answered = await address.exchange(head + b"1\r\n \r\n" * blanks + b"2\r\n{}\r\n0\r\n\r\n")

    assert answered.startswith(b"HTTP/1.1 200")


async def test_what_is_no_http_is_refused(address: Address) -> None:
    assert (await address.exchange(b"\x16\x03\x01\x02\x00")).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00", 400, "BAD_REQUEST"),
        (b"GET /health/live HTTP/1.1\r\n", 408, "REQUEST_TIMEOUT"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD_BYTES, 431, "HEADERS_TOO_LARGE"),
    ],
)
async def test_what_never_became_a_request_is_told_as_every_error_is(
    address: Address, sent: bytes, status: int, code: str
) -> None:
    head, _, body = (await address.exchange(sent)).partition(b"\r\n\r\n")

    error = json.loads(body)["error"]
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert error["code"] == code
    assert f"x-request-id: {error['request_id']}".encode() in head
    assert b"content-type: application/json" in head


async def test_a_request_with_two_lengths_is_refused(address: Address) -> None:
    smuggled = (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
    )

    answered = await address.exchange(smuggled)

    assert answered.startswith(b"HTTP/1.1 400")
    assert answered.count(b"HTTP/1.1") == 1


async def test_large_answers_arrive_whole_however_late_they_are_read(address: Address) -> None:
    get = b"GET /docs/swagger-ui.js HTTP/1.1\r\nHost: localhost\r\n"

    alone = await address.exchange(get + b"Connection: close\r\n\r\n")
    in_a_row = await address.exchange((get + b"\r\n") * 2 + get + b"Connection: close\r\n\r\n")

    body = alone.partition(b"\r\n\r\n")[2]
    assert len(body) > 1_000_000
    assert in_a_row.count(body) == 3
