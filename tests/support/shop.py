"""A small module of routes to stand in for contexts, so that HTTP is tested without a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import msgspec
from prometheus_client import CollectorRegistry

from guilder.gateway.module import GatewaySettings, build, build_service
from guilder.kernel.errors import NotFound, Overloaded, Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform.auth import Caller
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.fields import Amount, CurrencyCode, Description
from guilder.platform.http.pages import Page, page_meta
from guilder.platform.http.route import Access, Answer, Request, Route, StreamAnswer
from guilder.platform.module import Module

ANNA, BEN = "token-of-anna", "token-of-ben"
WALLET = "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11"


class TransferBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    from_wallet_id: UUID
    to_wallet_id: UUID
    amount: Amount
    currency: CurrencyCode
    description: Description | None = None


class Transferred(msgspec.Struct, kw_only=True):
    amount: str
    currency: str
    idempotency_key: str
    seen: dict[str, str]


class Wallet(msgspec.Struct, kw_only=True):
    id: UUID
    owner_id: UUID


class Remark(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    text: Description | None = None


def caller(permissions: frozenset[str]) -> Caller:
    return Caller(
        user_id=UserId(uuid4()),
        roles=frozenset(),
        permissions=permissions,
        account_type="customer",
        session_id=None,
        token_id=uuid4(),
    )


@dataclass
class Tokens:
    """Good tokens and whose they are. A token is known without a look once it was verified."""

    callers: dict[str, Caller] = field(
        default_factory=lambda: {
            ANNA: caller(frozenset({"wallets:read"})),
            BEN: caller(frozenset()),
        }
    )
    verified: dict[str, Caller] = field(default_factory=dict)
    looked_at: int = 0

    def cached(self, token: str) -> Caller | None:
        return self.verified.get(token)

    async def verify(self, token: str) -> Caller:
        self.looked_at += 1
        if token not in self.callers:
            raise Unauthenticated
        self.verified[token] = self.callers[token]
        return self.callers[token]


@dataclass
class Shop:
    """Its handlers, and what they have seen."""

    left: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: bool = True
    calls: list[str] = field(default_factory=list)

    async def ready(self) -> dict[str, bool]:
        return {"database": self.healthy}

    async def transfer(self, request: Request) -> Answer:
        """Move money."""
        self.calls.append("transfer")
        seen = {"address": request.client_address, **request.headers}
        body: TransferBody = request.body
        done = Transferred(
            amount=body.amount,
            currency=body.currency,
            idempotency_key=request.idempotency_key,
            seen=seen,
        )
        return Answer(data=done)

    async def wallet(self, request: Request) -> Answer:
        return Answer(data=Wallet(id=request.id("wallet_id"), owner_id=request.user.user_id))

    async def wallets(self, request: Request) -> Answer:
        found = [Wallet(id=UUID(WALLET), owner_id=request.user.user_id)] * request.query.limit
        return Answer(data=found, meta=page_meta(None))

    async def named(self, request: Request) -> Answer:
        self.calls.append("named")
        return Answer(data={"path": request.path, "caller": request.caller is not None})

    async def remark(self, request: Request) -> Answer:
        return Answer(data={"text": request.body.text})

    async def gone(self, request: Request) -> Answer:
        return Answer(data=None)

    async def bug(self, request: Request) -> Answer:
        raise RuntimeError("the password of Anna is hunter2")

    async def busy(self, request: Request) -> Answer:
        raise Overloaded(retry_after_s=7)

    async def missing(self, request: Request) -> Answer:
        raise NotFound

    async def export(self, request: Request) -> StreamAnswer:
        return StreamAnswer(chunks=_lines(3), content_type="text/csv; charset=utf-8")

    async def events(self, request: Request) -> StreamAnswer:
        return StreamAnswer(chunks=self._endless(), content_type="text/event-stream")

    async def _endless(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: hello\n\n"
            await asyncio.Event().wait()
        finally:
            self.left.set()

    def routes(self) -> tuple[Route, ...]:
        public, anyone = Access.PUBLIC, Access.ANY_CALLER
        return (
            _route("POST", "/transactions/transfer", self.transfer, anyone, **_MONEY),
            _route("POST", "/transactions/bug", self.bug, anyone, **_MONEY),
            _route("GET", "/wallets", self.wallets, anyone, query=Page, **_LIST),
            _route("GET", "/wallets/{wallet_id}", self.wallet, "wallets:read", answers=Wallet),
            _route("POST", "/wallets/{wallet_id}/activate", self.named, anyone),
            _route("DELETE", "/wallets/{wallet_id}", self.gone, anyone, status=204),
            _route("POST", "/wallets/{wallet_id}/remark", self.remark, anyone, body=Remark),
            _route("GET", "/ledger/accounts", self.named, public),
            _route("GET", "/accounts", self.named, public),
            _route("GET", "/wallet/", self.named, public),
            _route("GET", "/bug", self.bug, public),
            _route("GET", "/busy", self.busy, public),
            _route("GET", "/missing", self.missing, public),
            _route("GET", "/export", self.export, public),
            _route("GET", "/events", self.events, public),
        )

    def module(self) -> Module:
        names = ("wallet", "transaction", "ledger")
        return Module(name="shop", service_names=names, routes=self.routes())


_MONEY: dict[str, Any] = {
    "body": TransferBody,
    "answers": Transferred,
    "status": 201,
    "moves_money": True,
    "max_body_bytes": 4096,
}
_LIST: dict[str, Any] = {"answers": Wallet, "is_list": True}


def _route(method: str, path: str, handler: Any, access: Any, **more: Any) -> Route:
    return Route(
        method=method,
        path=path,
        handler=handler,
        access=access,
        summary=f"{method} {path}",
        tag="shop",
        **more,
    )


async def _lines(count: int) -> AsyncGenerator[bytes, None]:
    for number in range(count):
        yield b"line %d\n" % number


def shop_app(shop: Shop | None = None, *, tokens: Tokens | None = None, **settings: Any) -> HttpApp:
    """The shop behind a gateway; without a rate limit unless ``settings`` say so."""
    shop = shop or Shop()
    return build(
        modules=[shop.module()],
        verifier=tokens or Tokens(),
        readiness=shop.ready,
        registry=CollectorRegistry(),
        settings=GatewaySettings(**{"rate_limit": "off", **settings}),
    )


def shop_service(shop: Shop, *, tokens: Tokens | None = None, **settings: Any) -> HttpApp:
    """The shop alone, as it stands behind a gateway elsewhere."""
    return build_service(
        modules=[shop.module()],
        verifier=tokens or Tokens(),
        readiness=shop.ready,
        registry=CollectorRegistry(),
        settings=GatewaySettings(**settings),
    )


def transfer_body(**changes: Any) -> dict[str, Any]:
    body = {
        "from_wallet_id": WALLET,
        "to_wallet_id": "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a12",
        "amount": "1500.00",
        "currency": "INR",
    }
    return {**body, **changes}


def as_anna() -> dict[str, str]:
    return {"Authorization": f"Bearer {ANNA}"}


def as_ben() -> dict[str, str]:
    return {"Authorization": f"Bearer {BEN}"}
