"""Anna's program works in her name until she ends it, and she signs in with a provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import msgspec
import pytest_asyncio

from tests.support.customer import Customer, data, error
from tests.support.guilder import Running, environment
from tests.support.receivers import Receiver, receiving
from tests.support.stranger import CLIENT_ID, CLIENT_SECRET, Person, Stranger, a_stranger
from tests.support.waiting import until


class Program:
    """A program with a client's id and secret."""

    def __init__(self, http: httpx2.Client, made: dict[str, str]) -> None:
        self.http = http
        self.credentials = (made["client_id"], made["client_secret"])

    def sign_in(self, *scopes: str) -> httpx2.Response:
        form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
        return self.http.post("/api/v1/oauth/token", data=form, auth=self.credentials)

    def as_(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}


@pytest_asyncio.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest_asyncio.fixture
async def stranger() -> AsyncIterator[Stranger]:
    async with a_stranger() as found:
        found.person = Person("77")
        yield found


async def test_a_program_works_in_its_users_name_and_a_provider_signs_her_in(
    tmp_path: Path, inbox: Receiver, stranger: Stranger
):
    file = tmp_path / "providers.json"
    acme = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "issuer": stranger.url}
    file.write_bytes(msgspec.json.encode({"acme": acme}))
    env = environment(
        tmp_path,
        RATE_LIMIT="off",
        EGRESS_ALLOW="127.0.0.1:*",
        EGRESS_PORTS=f"80,443,{stranger.port}",
        SIGN_IN_PROVIDERS=str(file),
    )
    with Running("up", env=env, folder=tmp_path) as up:
        address = await asyncio.to_thread(up.address)
        with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
            await a_day_of_a_program(http, inbox)
            await asyncio.to_thread(a_morning_without_a_password, http)
        assert await asyncio.to_thread(up.interrupt) == 0


async def a_day_of_a_program(http: httpx2.Client, inbox: Receiver) -> None:
    def morning() -> tuple[Customer, str, str, Program, str, str]:
        anna, ben = Customer(http, "Anna"), Customer(http, "Ben")
        source, target = anna.open_wallet(funds="100.00"), ben.open_wallet()
        scopes = ["wallets:read", "payments:write", "webhooks:write"]
        made = data(anna.post("/oauth/clients", name="Books", scopes=scopes), 201)
        program = Program(http, made)
        token = program.sign_in().json()["access_token"]
        hook = {"url": inbox.url, "events": ["transaction.completed"]}
        data(http.post("/api/v1/webhooks", json=hook, headers=program.as_(token)), 201)
        return anna, source, target, program, token, made["client_id"]

    def pay() -> None:
        body = {
            "from_wallet_id": source,
            "to_wallet_id": target,
            "amount": "10.00",
            "currency": "INR",
        }
        path = "/api/v1/transactions/transfer"
        data(http.post(path, json=body, headers=program.as_(token)), 201)
        listed = data(http.get("/api/v1/wallets", headers=program.as_(token)))
        assert source in [wallet["id"] for wallet in listed]
        error(http.get("/api/v1/auth/me", headers=program.as_(token)), 403)
        error(http.get("/api/v1/transactions", headers=program.as_(token)), 403)

    def evening() -> None:
        answer = http.delete(f"/api/v1/oauth/clients/{client_id}", headers=anna.authorization)
        assert answer.status_code == 204
        error(http.get("/api/v1/wallets", headers=program.as_(token)), 401)
        assert program.sign_in().json()["error"] == "invalid_client"

    anna, source, target, program, token, client_id = await asyncio.to_thread(morning)
    await asyncio.to_thread(pay)
    # the deposit may still have been on its way when the program began to listen
    await until(lambda: hears_of(inbox, source), "the program hears of its payment")
    await asyncio.to_thread(evening)


async def hears_of(inbox: Receiver, payer: str) -> bool:
    return payer in [request.event["data"]["from_wallet_id"] for request in inbox.requests]


def a_morning_without_a_password(http: httpx2.Client) -> None:
    def there_and_back(url: str) -> httpx2.Response:
        back = httpx2.get(url, trust_env=False, timeout=60).headers["location"]
        parts = urlsplit(back)
        return http.get(f"{parts.path}?{parts.query}")

    anna = Customer(http, "Anna")
    leaving = data(anna.post("/auth/oauth/acme/link"))
    assert there_and_back(leaving["authorization_url"]).status_code == 204
    away = http.get("/api/v1/auth/oauth/acme/start")
    login = data(there_and_back(away.headers["location"]))
    document = http.get("/.well-known/openid-configuration").json()

    assert login["user"]["id"] == str(anna.id)
    assert urlsplit(document["token_endpoint"]).path == "/api/v1/oauth/token"
    assert data(anna.get("/auth/links"))[0]["provider"] == "acme"
