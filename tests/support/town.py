"""A town of people: identity alone, served over HTTP in the test's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
from prometheus_client import CollectorRegistry

from guilder.identity import module
from guilder.identity.service.passwords import PasswordCost
from guilder.platform.auth import TokenVerifier
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.keys import KeyFolder
from guilder.platform.standing import Standing

CHEAP = PasswordCost(passes=1, memory_kib=64, lanes=1)
PASSWORD = "SecurePass123"
GOOD = {
    "email": "gita@example.com",
    "phone": "+919876500300",
    "full_name": "Gita Rao",
    "password": PASSWORD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Identity alone, served; and what verifies its tokens."""

    http: httpx2.AsyncClient
    keys: KeyFolder
    verifier: TokenVerifier
    app: HttpApp

    def at(self, address: str) -> Town:
        """The same town, called from another address."""
        transport = httpx2.ASGITransport(self.app, client=(address, 50_000))
        http = httpx2.AsyncClient(transport=transport, base_url="http://guilder.test")
        return replace(self, http=http)

    async def post(self, path: str, **body: object) -> httpx2.Response:
        return await self.http.post(f"/api/v1{path}", json=body)

    async def register(self, name: str, phone: str, **changes: object) -> httpx2.Response:
        details = {"email": f"{name.lower()}@example.com", "full_name": f"{name} Rao"}
        return await self.post(
            "/auth/register", **{**details, "phone": phone, "password": PASSWORD, **changes}
        )

    async def login(self, **credentials: object) -> httpx2.Response:
        return await self.post("/auth/login", **{"password": PASSWORD, **credentials})

    async def me(self, token: str) -> httpx2.Response:
        return await self.http.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})


class ForgetfulDatabase(Database):
    """Does everything twice, as when the link is cut after a commit and the answer is lost."""

    async def run(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        await super().run(work)
        return await super().run(work)


@asynccontextmanager
async def founded(db: Database, keys: KeyFolder, **parts: Any) -> AsyncIterator[Town]:
    """Identity on ``db``, served in this process, as long as the block lasts.

    ``parts`` are what else it is built from.
    """
    contacts = OuterKeys(keys.folder)
    standing = Standing(module.build_revocations(db))
    identity = module.build(
        db=db, keys=keys, contacts=contacts, password_cost=CHEAP, standing=standing, **parts
    )
    verifier = TokenVerifier(keys, standing=standing)
    dispatcher = Dispatcher(
        {identity.name: identity.routes},
        verifier=verifier,
        metrics=RequestMetrics(CollectorRegistry()),
        service_names=identity.service_names,
    )
    app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
    transport = httpx2.ASGITransport(app)
    async with (
        standing.running(),
        httpx2.AsyncClient(transport=transport, base_url="http://guilder.test") as http,
    ):
        yield Town(http=http, keys=keys, verifier=verifier, app=app)
    for stop in identity.on_stop:
        await stop()


def data(answer: httpx2.Response, status: int = 200) -> Any:
    """What a good answer carries."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is True
    return body["data"]


def error(answer: httpx2.Response, status: int) -> Any:
    """What a refusal says."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["success"] is False
    return body["error"]
