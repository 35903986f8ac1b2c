"""A gateway in front of a context that runs elsewhere: one API, whichever process answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.support.http_server import Address, serving
from tests.support.shop import (
    WALLET,
    Shop,
    Tokens,
    as_anna,
    as_ben,
    shop_app,
    shop_service,
    transfer_body,
)

TRANSFER = "/api/v1/transaction/transactions/transfer"


@pytest.fixture(scope="module")
def elsewhere() -> Shop:
    return Shop()


@pytest_asyncio.fixture(scope="module")
async def address(elsewhere: Shop) -> AsyncIterator[Address]:
    tokens = Tokens()
    service = shop_service(elsewhere, tokens=tokens, trusted_proxies=("127.0.0.1",))
    async with serving(service) as behind:
        gateway = shop_app(Shop(), tokens=tokens, upstreams={"shop": behind.url})
        async with serving(gateway) as address:
            yield address


@pytest_asyncio.fixture(scope="module")
async def client(address: Address) -> AsyncIterator[httpx2.AsyncClient]:
    async with address.client() as client:
        yield client


async def test_a_request_is_answered_by_the_context_elsewhere(
    client: httpx2.AsyncClient, elsewhere: Shop
) -> None:
    elsewhere.calls.clear()
    headers = {**as_anna(), "Idempotency-Key": "rent", "X-Request-ID": "job-7"}

    response = await client.post(TRANSFER, json=transfer_body(), headers=headers)

    assert response.status_code == 201
    assert response.json()["data"]["amount"] == "1500.00"
    assert response.headers["idempotency-key"] == "rent"
    assert response.headers.get_list("x-request-id") == ["job-7"]
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
    assert len(response.headers.get_list("date")) == 1
    assert elsewhere.calls == ["transfer"]


async def test_a_key_that_the_gateway_makes_is_the_context_s_as_well(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.post(TRANSFER, json=transfer_body(), headers=as_anna())

    made = response.headers.get_list("idempotency-key")
    assert made == [response.json()["data"]["idempotency_key"]]


async def test_a_client_cannot_say_where_it_comes_from(client: httpx2.AsyncClient) -> None:
    lies = {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "Forwarded": "for=x"}
    private = {"Connection": "X-Private", "X-Private": "1", "TE": "trailers"}

    response = await client.post(
        TRANSFER, json=transfer_body(), headers={**as_anna(), **lies, **private}
    )

    seen = response.json()["data"]["seen"]
    assert seen["address"] == "127.0.0.1"
    assert not {"x-private", "te", "forwarded", "x-real-ip", "x-forwarded-for"} & seen.keys()


async def test_values_in_a_path_are_passed_on_and_nothing_else(
    client: httpx2.AsyncClient,
) -> None:
    found = await client.get(f"/api/v1/wallet/wallets/{WALLET}", headers=as_anna())
    odd = await client.get("/api/v1/wallet/wallets/..%3Fx=1", headers=as_anna())

    assert found.json()["data"]["id"] == WALLET
    assert odd.status_code == 404


async def test_queries_and_lists_pass_through(client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/v1/wallets?limit=2", headers=as_anna())

    assert len(response.json()["data"]) == 2
    assert response.json()["meta"]["has_more"] is False


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/v1/wallets", {}, 401),
        ("GET", f"/api/v1/wallets/{WALLET}", as_ben(), 403),
        ("GET", "/api/v1/nothing", {}, 404),
        ("PUT", "/api/v1/wallets", {}, 405),
        ("GET", "/api/v1/busy", {}, 503),
        ("GET", "/api/v1/bug", {}, 500),
        ("DELETE", f"/api/v1/wallets/{WALLET}", as_anna(), 204),
    ],
)
async def test_statuses_are_those_of_the_context(
    client: httpx2.AsyncClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = await client.request(method, path, headers=headers)

    assert response.status_code == status


async def test_head_passes_through_without_a_body(client: httpx2.AsyncClient) -> None:
    get = await client.get("/api/v1/wallets", headers=as_anna())
    head = await client.head("/api/v1/wallets", headers=as_anna())

    assert head.content == b""
    assert head.headers["content-length"] == str(len(get.content))


async def test_a_stream_arrives_before_it_has_ended(address: Address, elsewhere: Shop) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    await reader.readuntil(b"data: hello")
    writer.close()

    await asyncio.wait_for(elsewhere.left.wait(), timeout=30)
    assert elsewhere.left.is_set()


async def test_a_body_is_passed_on_as_it_comes(client: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b'{"te', b'xt": ', b'"hello"}'):
            yield piece

    response = await client.post(
        f"/api/v1/wallets/{WALLET}/remark",
        content=chunks(),
        headers={**as_anna(), "content-type": "application/json"},
    )

    assert response.json()["data"] == {"text": "hello"}


async def test_a_body_that_is_too_large_stops_at_the_gateway(
    client: httpx2.AsyncClient, elsewhere: Shop
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    elsewhere.calls.clear()
    headers = {**as_anna(), "content-type": "application/json"}

    said = await client.post(TRANSFER, content=b" " * 5000, headers=headers)
    chunked = await client.post(TRANSFER, content=chunks(), headers=headers)

    assert (said.status_code, chunked.status_code) == (413, 413)
    assert elsewhere.calls == []


async def test_a_context_that_is_down_is_told_as_such() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        gateway = shop_app(Shop(), upstreams={"shop": nobody})
        async with serving(gateway) as address, address.client() as client:
            down = await client.post(TRANSFER, json=transfer_body(), headers=as_anna())
            alive = await client.get("/health/live")

    assert down.status_code == 503
    assert down.json()["error"]["code"] == "PROVIDER_UNAVAILABLE"
    assert down.headers["retry-after"] == "1"
    assert down.headers["idempotency-key"]
    assert alive.status_code == 200
