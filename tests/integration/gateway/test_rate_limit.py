"""Everyone has an allowance: a caller with a good token their own, the rest one per address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import httpx2

from guilder.kernel.ids import UserId
from tests.support.http_server import serving
from tests.support.shop import ANNA, Tokens, as_anna, as_ben, shop_app

WALLETS = "/api/v1/wallets"


@asynccontextmanager
async def _limited(rate: str, tokens: Tokens | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    app = shop_app(tokens=tokens, rate_limit=rate, trusted_proxies=("127.0.0.1",))
    async with serving(app) as address, address.client() as client:
        yield client


async def test_answers_tell_how_many_requests_are_left() -> None:
    async with _limited("3/day") as client:
        responses = [await client.get(WALLETS, headers=as_anna()) for _ in range(4)]

    assert [response.status_code for response in responses] == [200, 200, 200, 429]
    assert responses[0].headers["ratelimit-policy"] == '"default";q=3;w=86400'
    assert responses[0].headers["ratelimit"].startswith('"default";r=2;t=')
    assert responses[2].headers["ratelimit"].startswith('"default";r=0;t=')


async def test_one_too_many_is_told_when_to_come_back() -> None:
    async with _limited("1/day") as client:
        await client.get(WALLETS, headers=as_anna())
        refused = await client.get(WALLETS, headers=as_anna())

    error = refused.json()["error"]
    assert error["code"] == "RATE_LIMIT_EXCEEDED"
    assert refused.headers["retry-after"] == str(error["details"]["retry_after_s"])
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')
    assert "ratelimit-policy" in refused.headers


async def test_callers_at_one_address_do_not_share_an_allowance() -> None:
    async with _limited("1/day") as client:
        statuses = [
            (await client.get(WALLETS, headers=headers)).status_code
            for headers in (as_anna(), as_ben(), {}, as_anna(), as_ben(), {})
        ]

    assert statuses == [200, 200, 401, 429, 429, 429]


async def test_the_clients_of_a_user_share_the_allowance_of_their_user() -> None:
    anna = Tokens().callers[ANNA]
    clients = {
        f"token-of-client-{number}": replace(anna, client_id=UserId(uuid4())) for number in range(3)
    }
    tokens = Tokens(callers={ANNA: anna, **clients})
    async with _limited("3/day", tokens) as client:
        statuses = [
            (await client.get(WALLETS, headers={"Authorization": f"Bearer {token}"})).status_code
            for token in (ANNA, *clients)
        ]

    # No client lists its user's wallets, but asking counts.
    assert statuses == [200, 403, 403, 429]


async def test_strangers_are_counted_by_address() -> None:
    async with _limited("1/day") as client:
        statuses = [
            (await client.get("/nothing", headers={"X-Forwarded-For": address})).status_code
            for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7")
        ]

    assert statuses == [404, 404, 429]


async def test_one_line_of_ipv6_is_one_address() -> None:
    async with _limited("1/day") as client:
        statuses = [
            (await client.get("/nothing", headers={"X-Forwarded-For": address})).status_code
            for address in ("2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:2::1")
        ]

    assert statuses == [404, 429, 404]


async def test_bad_tokens_are_not_free() -> None:
    tokens = Tokens()
    async with _limited("2/day", tokens) as client:
        statuses = [
            (await client.get(WALLETS, headers={"Authorization": f"Bearer guess-{n}"})).status_code
            for n in range(5)
        ]

    assert statuses == [401, 401, 429, 429, 429]
    assert tokens.looked_at == 2


async def test_a_known_caller_is_served_though_the_address_is_used_up() -> None:
    async with _limited("2/day") as client:
        await client.get(WALLETS, headers=as_anna())
        for n in range(3):
            await client.get(WALLETS, headers={"Authorization": f"Bearer guess-{n}"})

        known = await client.get(WALLETS, headers=as_anna())

    assert known.status_code == 200


async def test_a_token_is_verified_once_for_a_request() -> None:
    tokens = Tokens()
    async with _limited("9/day", tokens) as client:
        await client.get(WALLETS, headers=as_anna())
        await client.get(WALLETS, headers={"Authorization": "Bearer guess"})

    assert tokens.looked_at == 2


async def test_health_and_documentation_are_not_counted() -> None:
    async with _limited("1/day") as client:
        paths = ("/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/start.js")
        responses = [await client.get(path) for path in (*paths, *paths)]

    assert {response.status_code for response in responses} == {200}
    assert not any("ratelimit" in response.headers for response in responses)


async def test_off_leaves_no_trace() -> None:
    async with _limited("off") as client:
        response = await client.get(WALLETS, headers=as_anna())

    assert "ratelimit" not in response.headers
