"""The ledger alone, served over HTTP in the test's own process, with callers of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
from prometheus_client import CollectorRegistry

from guilder.kernel.errors import Unauthenticated
from guilder.kernel.ids import UserId
from guilder.ledger.module import build, build_ledger
from guilder.platform.auth import Caller
from guilder.platform.db import Database
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.permissions import permissions_of
from tests.support.ledger import Teller


class Callers:
    """Knows a token as ``role:user id``."""

    def cached(self, token: str) -> Caller | None:
        role, _, user_id = token.partition(":")
        if not user_id:
            return None
        return Caller(
            user_id=UserId(UUID(user_id)),
            roles=frozenset({role}),
            permissions=permissions_of({role}),
            account_type=role,
            session_id=None,
            token_id=uuid4(),
        )

    async def verify(self, token: str) -> Caller:
        raise Unauthenticated


class CountingHouse:
    """Calls the ledger's routes as somebody."""

    def __init__(self, http: httpx2.AsyncClient, *, role: str, user_id: UserId) -> None:
        self._http = http
        self.user_id = user_id
        self._headers = {"Authorization": f"Bearer {role}:{user_id}"}

    def as_(self, role: str, user_id: UserId) -> CountingHouse:
        return CountingHouse(self._http, role=role, user_id=user_id)

    async def get(self, path: str) -> httpx2.Response:
        return await self._http.get(f"/api/v1/ledger{path}", headers=self._headers)

    async def post(self, path: str, *, key: str | None = None, **body: Any) -> httpx2.Response:
        headers = self._headers if key is None else {**self._headers, "Idempotency-Key": key}
        path = f"/api/v1/ledger{path}"
        if not body:
            return await self._http.post(path, headers=headers)
        return await self._http.post(path, headers=headers, json=body)

    async def put(self, path: str, **body: Any) -> httpx2.Response:
        return await self._http.put(f"/api/v1/ledger{path}", headers=self._headers, json=body)

    async def open(self, code: str = "wallet", **changes: Any) -> str:
        """The id of somebody's new account; a liability in INR that may not be overdrawn."""
        usual = {"type": "liability", "currency": "INR", "floor": "0", "owner_id": str(uuid4())}
        body = {"code": code, **usual, **changes}
        answer = await self.post("/accounts", **body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["id"])


def entry(account_id: str, direction: str, amount: str) -> dict[str, str]:
    return {"account_id": account_id, "direction": direction, "amount": amount}


def moved(source: str, target: str, amount: str) -> list[dict[str, str]]:
    """Entries that move money from one customer's account to another's."""
    return [entry(source, "debit", amount), entry(target, "credit", amount)]


async def funded(house: CountingHouse, amount: str = "100.00", **changes: str) -> str:
    """An account with money in it, from a bank that may be overdrawn."""
    account = await house.open(**changes)
    bank = await house.open("bank", type="asset", floor=None)
    paid = await house.post("/transactions", entries=moved(bank, account, amount))
    assert paid.status_code == 201, paid.text
    return account


async def held_shortly(
    house: CountingHouse, teller: Teller, entries: list[dict[str, str]]
) -> tuple[str, datetime]:
    """The id of a hold that ends as soon as this machine can have it, and when."""
    life = timedelta(milliseconds=200)
    while True:
        soon = await teller.now() + life
        held = await house.post(
            "/transactions", pending=True, expires_at=soon.isoformat(), entries=entries
        )
        if held.status_code == 201:
            return held.json()["data"]["id"], soon
        assert held.json()["error"]["code"] == "HOLD_EXPIRED", held.text
        life *= 2


@asynccontextmanager
async def opened(db: Database) -> AsyncIterator[CountingHouse]:
    """The ledger on ``db``, called as operations, as long as the block lasts."""
    registry = CollectorRegistry()
    ledger = build(db=db, ledger=build_ledger(), registry=registry)
    dispatcher = Dispatcher(
        {ledger.name: ledger.routes},
        verifier=Callers(),
        metrics=RequestMetrics(registry),
        service_names=ledger.service_names,
    )
    app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://guilder.test") as http:
        yield CountingHouse(http, role="operations", user_id=UserId(uuid4()))
