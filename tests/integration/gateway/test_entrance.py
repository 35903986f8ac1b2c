"""What comes in over a real socket, and what goes out: envelope, headers, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

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
    transfer_body,
)

TRANSFER = "/api/v1/transactions/transfer"


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop()


@pytest_asyncio.fixture(scope="module")
async def address(shop: Shop) -> AsyncIterator[Address]:
    app = shop_app(
        shop, tokens=Tokens(), allowed_hosts=("bank.example",), metrics_token="metrics-token"
    )
    async with serving(app) as address:
        yield address


@pytest_asyncio.fixture(scope="module")
async def client(address: Address) -> AsyncIterator[httpx2.AsyncClient]:
    async with address.client() as client:
        yield client


def _code(response: httpx2.Response) -> str:
    body = response.json()
    assert body["success"] is False
    assert body["error"]["request_id"] == response.headers["x-request-id"]
    code: str = body["error"]["code"]
    return code


@pytest.mark.parametrize("path", [TRANSFER, "/api/v1/transaction/transactions/transfer"])
async def test_both_spellings_reach_the_same_use_case(
    client: httpx2.AsyncClient, path: str
) -> None:
    response = await client.post(path, json=transfer_body(), headers=as_anna())

    assert response.status_code == 201
    assert response.json()["success"] is True
    assert response.json()["data"]["amount"] == "1500.00"


async def test_an_amount_as_a_number_keeps_its_digits(client: httpx2.AsyncClient) -> None:
    sent = str(transfer_body(amount=0)).replace("'", '"').replace(": 0", ": 5000.10")
    headers = {**as_anna(), "content-type": "application/json"}

    response = await client.post(TRANSFER, content=sent, headers=headers)

    assert response.json()["data"]["amount"] == "5000.10"


async def test_the_key_of_the_caller_comes_back(client: httpx2.AsyncClient) -> None:
    headers = {**as_anna(), "Idempotency-Key": "salary-2026-11"}

    response = await client.post(TRANSFER, json=transfer_body(), headers=headers)

    assert response.headers["idempotency-key"] == "salary-2026-11"
    assert response.json()["data"]["idempotency_key"] == "salary-2026-11"


async def test_a_missing_key_is_made_and_told(client: httpx2.AsyncClient) -> None:
    response = await client.post(TRANSFER, json=transfer_body(), headers=as_anna())

    assert response.headers["idempotency-key"] == response.json()["data"]["idempotency_key"]


async def test_a_key_that_was_made_is_told_though_the_request_failed(
    client: httpx2.AsyncClient,
) -> None:
    """Nobody knows whether it happened: with the key, asking again is safe."""
    bug = await client.post("/api/v1/transactions/bug", json=transfer_body(), headers=as_anna())
    again = await client.post(
        TRANSFER,
        json=transfer_body(),
        headers={**as_anna(), "Idempotency-Key": bug.headers["idempotency-key"]},
    )

    assert (bug.status_code, _code(bug)) == (500, "INTERNAL_ERROR")
    assert again.json()["data"]["idempotency_key"] == bug.headers["idempotency-key"]


async def test_a_key_that_cannot_be_kept_is_not_told(client: httpx2.AsyncClient) -> None:
    headers = {**as_anna(), "Idempotency-Key": "two words"}

    response = await client.post(TRANSFER, json=transfer_body(), headers=headers)

    assert "idempotency-key" not in response.headers


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "caf\xe9"])
async def test_a_key_that_cannot_be_kept_is_refused(client: httpx2.AsyncClient, key: str) -> None:
    headers = {**as_anna(), "Idempotency-Key": key.encode("latin-1")}

    response = await client.post(TRANSFER, json=transfer_body(), headers=headers)

    assert (response.status_code, _code(response)) == (400, "VALIDATION_ERROR")


async def test_answers_tell_browsers_neither_to_guess_nor_to_keep(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.get("/api/v1/wallets", headers=as_anna())

    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in response.headers
    assert "server" not in response.headers


async def test_the_id_of_a_request_comes_back(client: httpx2.AsyncClient) -> None:
    response = await client.get("/nothing", headers={"X-Request-ID": "job-7"})

    assert response.headers["x-request-id"] == "job-7"
    assert response.json()["error"]["request_id"] == "job-7"


async def test_a_list_has_its_meta(client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/v1/wallets?limit=2", headers=as_anna())

    assert [wallet["id"] for wallet in response.json()["data"]] == [WALLET, WALLET]
    assert response.json()["meta"] == {"next_cursor": None, "has_more": False}


REFUSED = [
    ("POST", TRANSFER, {}, 401, "UNAUTHORIZED"),
    ("POST", TRANSFER, {"Authorization": "Bearer nonsense"}, 401, "UNAUTHORIZED"),
    ("POST", TRANSFER, {"Authorization": "Basic QW5uYTphYmM="}, 401, "UNAUTHORIZED"),
    ("GET", f"/api/v1/wallets/{WALLET}", as_ben(), 403, "FORBIDDEN"),
    ("GET", "/api/v1/wallets/7", as_anna(), 404, "NOT_FOUND"),
    ("GET", f"/api/v1/wallets/{WALLET.replace('-', '')}", as_anna(), 404, "NOT_FOUND"),
    ("GET", "/api/v1/nothing", {}, 404, "NOT_FOUND"),
    ("GET", "/api/v1/missing", {}, 404, "NOT_FOUND"),
    ("PUT", TRANSFER, as_anna(), 405, "METHOD_NOT_ALLOWED"),
    ("OPTIONS", TRANSFER, {}, 405, "METHOD_NOT_ALLOWED"),
    ("GET", "/api/v1/wallets?colour=red", as_anna(), 400, "VALIDATION_ERROR"),
    ("GET", "/api/v1/missing?x=1", {}, 400, "VALIDATION_ERROR"),
    ("GET", "/api/v1/wallets?limit=1&limit=2", as_anna(), 400, "VALIDATION_ERROR"),
    ("GET", "/api/v1/wallets?limit=%ff", as_anna(), 400, "BAD_REQUEST"),
    ("GET", "/api/v1/wallets", {**as_anna(), "Host": "evil.example"}, 400, "BAD_REQUEST"),
    ("GET", "/api/v1/busy", {}, 503, "OVERLOADED"),
    ("GET", "/api/v1/bug", {}, 500, "INTERNAL_ERROR"),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "code"), REFUSED)
async def test_a_refusal_has_its_status_and_code(
    client: httpx2.AsyncClient,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    response = await client.request(method, path, headers=headers)

    assert (response.status_code, _code(response)) == (status, code)


async def test_refusals_say_what_to_do_next_in_headers(client: httpx2.AsyncClient) -> None:
    busy = await client.get("/api/v1/busy")
    wrong = await client.put("/api/v1/wallets", headers=as_anna())
    unknown = await client.post(TRANSFER)

    assert busy.headers["retry-after"] == "7"
    assert wrong.headers["allow"] == "GET, HEAD"
    assert unknown.headers["www-authenticate"] == "Bearer"


async def test_a_bug_tells_nothing_about_itself(client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/v1/bug")

    assert "Anna" not in response.text
    assert "hunter2" not in response.text
    assert "RuntimeError" not in response.text


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 200),
        ("application/json; charset=utf-8", b"{}", 200),
        ('Application/JSON;charset="UTF-8"', b"{}", 200),
        ("application/json; charset=latin-1", b"{}", 415),
        ("application/x-www-form-urlencoded", b"text=a", 415),
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        ("", b"", 200),
        ("text/plain", b"", 200),
    ],
)
async def test_a_body_has_to_be_json(
    client: httpx2.AsyncClient, content_type: str, body: bytes, status: int
) -> None:
    headers = {**as_anna(), **({"content-type": content_type} if content_type else {})}

    response = await client.post(f"/api/v1/wallets/{WALLET}/remark", content=body, headers=headers)

    assert response.status_code == status


async def test_a_route_without_a_body_takes_a_bare_post(client: httpx2.AsyncClient) -> None:
    path = f"/api/v1/wallet/wallets/{WALLET}/activate"

    bare = await client.post(path, headers=as_anna())
    with_body = await client.post(path, headers=as_anna(), content=b"whatever")

    assert (bare.status_code, with_body.status_code) == (200, 200)


async def test_a_required_body_is_asked_for(client: httpx2.AsyncClient) -> None:
    response = await client.post(TRANSFER, headers=as_anna())

    assert (response.status_code, _code(response)) == (400, "BAD_REQUEST")


async def test_a_body_that_is_too_large_never_reaches_the_use_case(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    shop.calls.clear()
    headers = {**as_anna(), "content-type": "application/json"}

    said = await client.post(TRANSFER, content=b" " * 5000, headers=headers)
    chunked = await client.post(TRANSFER, content=chunks(), headers=headers)

    assert (said.status_code, _code(said)) == (413, "PAYLOAD_TOO_LARGE")
    assert (chunked.status_code, _code(chunked)) == (413, "PAYLOAD_TOO_LARGE")
    assert shop.calls == []


async def test_a_chunked_body_is_read_whole(client: httpx2.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b'{"te', b'xt": ', b'"hello"}'):
            yield piece

    response = await client.post(
        f"/api/v1/wallets/{WALLET}/remark",
        content=chunks(),
        headers={**as_anna(), "content-type": "application/json"},
    )

    assert response.json()["data"] == {"text": "hello"}


async def test_head_is_get_without_the_body(client: httpx2.AsyncClient) -> None:
    get = await client.get("/api/v1/wallets", headers=as_anna())
    head = await client.head("/api/v1/wallets", headers=as_anna())

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == str(len(get.content))


async def test_nothing_to_say_is_said_with_204(client: httpx2.AsyncClient) -> None:
    response = await client.delete(f"/api/v1/wallets/{WALLET}", headers=as_anna())

    assert (response.status_code, response.content) == (204, b"")


async def test_a_public_route_does_not_mind_a_stale_token(client: httpx2.AsyncClient) -> None:
    stale = await client.get("/api/v1/accounts", headers={"Authorization": "Bearer stale"})
    good = await client.get("/api/v1/accounts", headers=as_anna())

    assert stale.json()["data"]["caller"] is False
    assert good.json()["data"]["caller"] is True


async def test_a_long_answer_comes_in_pieces(client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/v1/export")
    head = await client.head("/api/v1/export")

    assert response.text == "line 0\nline 1\nline 2\n"
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert head.content == b""


async def test_a_stream_without_end_is_closed_when_its_reader_leaves(
    address: Address, shop: Shop
) -> None:
    reader, writer = await address.connect()
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"data: hello")
    writer.close()

    await asyncio.wait_for(shop.left.wait(), timeout=30)

    assert shop.left.is_set()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]", "[::1]:80", "bank.example"]
)
async def test_known_hosts_are_served(client: httpx2.AsyncClient, host: str) -> None:
    response = await client.get("/api/v1/accounts", headers={"Host": host})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost:",
        "localhost:8x",
        "a@localhost",
        "::1",
    ],
)
async def test_unknown_hosts_are_not(client: httpx2.AsyncClient, host: str) -> None:
    response = await client.get("/api/v1/accounts", headers={"Host": host})

    assert (response.status_code, _code(response)) == (400, "BAD_REQUEST")


async def test_a_request_without_a_host_is_refused(address: Address) -> None:
    answered = await address.exchange(b"GET /api/v1/accounts HTTP/1.0\r\n\r\n")

    assert answered.startswith(b"HTTP/1.1 400")


async def test_a_doubled_host_is_refused(address: Address) -> None:
    answered = await address.exchange(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n"
    )

    assert answered.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "target",
    [
        b"http://evil.example/api/v1/accounts",
        b"HTTP://evil.example?x=/",
        b"http://localhost@evil.example/api/v1/accounts",
        b"http://localhost:81/api/v1/accounts",
        b"http:///api/v1/accounts",
    ],
)
async def test_a_target_of_another_site_than_its_host_is_refused(
    address: Address, target: bytes
) -> None:
    answered = await address.exchange(
        b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )

    assert answered.startswith(b"HTTP/1.1 400")
    assert b"BAD_REQUEST" in answered


async def test_a_target_may_name_the_site_of_its_host(address: Address) -> None:
    answered = await address.exchange(
        b"GET http://LOCALHOST/api/v1/accounts HTTP/1.1\r\nHost: localhost\r\n"
        b"Connection: close\r\n\r\n"
    )

    assert answered.startswith(b"HTTP/1.1 200")


async def test_probes_may_address_the_server_by_number(client: httpx2.AsyncClient) -> None:
    response = await client.get("/health/live", headers={"Host": "10.1.2.3:8000"})

    assert response.json()["data"] == {"status": "live"}


async def test_readiness_names_the_part_that_is_missing(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    good = await client.get("/health/ready")
    shop.healthy = False
    bad = await client.get("/health/ready")
    shop.healthy = True

    assert good.json()["data"] == {"status": "ready", "checks": {"database": True}}
    assert (bad.status_code, _code(bad)) == (503, "NOT_READY")
    assert bad.json()["error"]["details"] == {"checks": {"database": False}}


async def test_metrics_are_for_whoever_has_the_token(client: httpx2.AsyncClient) -> None:
    await client.get(f"/api/v1/wallets/{WALLET}", headers=as_anna())

    without = await client.get("/metrics")
    metrics = await client.get("/metrics", headers={"Authorization": "Bearer metrics-token"})

    assert without.status_code == 401
    line = (
        'guilder_http_requests_total{method="GET",route="/api/v1/wallets/{wallet_id}",status="200"}'
    )
    assert line in metrics.text
    assert "guilder_http_request_duration_seconds_bucket" in metrics.text
    assert WALLET not in metrics.text


async def test_without_a_metrics_token_there_are_no_metrics() -> None:
    async with serving(shop_app()) as address, address.client() as client:
        response = await client.get("/metrics", headers={"Authorization": "Bearer None"})

    assert response.status_code == 404


async def test_the_documentation_comes_from_this_server_alone(
    client: httpx2.AsyncClient,
) -> None:
    front = await client.get("/")
    page = await client.get("/docs")
    script = await client.get("/docs/swagger-ui.js")
    style = await client.get("/docs/swagger-ui.css")
    stranger = await client.get("/docs/..%2f..%2fetc%2fpasswd")

    assert (front.status_code, front.headers["location"]) == (307, "/docs")
    assert "http" not in page.text
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert script.headers["content-type"].startswith("text/javascript")
    assert style.headers["content-type"].startswith("text/css")
    assert stranger.status_code == 404


async def test_cors_is_for_the_origins_that_are_allowed() -> None:
    origins: Any = ("https://app.example",)
    preflight = {"Access-Control-Request-Method": "POST"}
    async with serving(shop_app(allowed_origins=origins)) as address, address.client() as client:
        friend = await client.options(
            TRANSFER, headers={**preflight, "Origin": "https://app.example"}
        )
        stranger = await client.options(TRANSFER, headers={**preflight, "Origin": "https://evil"})
        answer = await client.get("/api/v1/missing", headers={"Origin": "https://app.example"})
        same_site = await client.get("/api/v1/missing")

    assert friend.status_code == 204
    assert friend.headers["access-control-allow-origin"] == "https://app.example"
    assert "Idempotency-Key" in friend.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in stranger.headers
    assert "access-control-allow-methods" not in stranger.headers
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in answer.headers
    assert same_site.headers["vary"] == "Origin"


async def test_behind_https_browsers_are_told_to_stay_there() -> None:
    app = shop_app(trusted_proxies=("127.0.0.1",))
    async with serving(app) as address, address.client() as client:
        secure = await client.get("/health/live", headers={"X-Forwarded-Proto": "https"})

    assert secure.headers["strict-transport-security"].startswith("max-age=")
