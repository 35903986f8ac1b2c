"""A branch of a bank: its payments over HTTP, in the test's own process."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from prometheus_client import CollectorRegistry

from guilder.identity.api.verifications import Asked, VerificationNeeded, Verifications
from guilder.kernel.ids import UserId
from guilder.payments.http import routes
from guilder.payments.service.reading import PaymentReading
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.permissions import CUSTOMER, permissions_of
from guilder.wallets.service import InMoneyCore
from tests.support.bank import Bank
from tests.support.shop import ANNA, Tokens, caller


class _Unverified:
    """Verifications of a bank that asks for none."""

    async def demand(self, asked: Asked) -> VerificationNeeded:
        raise AssertionError(f"nothing has to be verified here, but {asked.operation} is")


@asynccontextmanager
async def served(
    bank: Bank, user_id: UserId, *, verifications: Verifications | None = None
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that pays as ``user_id`` at this bank."""
    customer = caller(permissions_of([CUSTOMER]))
    tokens = Tokens(callers={ANNA: dataclasses.replace(customer, user_id=user_id)})
    reading = PaymentReading(bank.db, wallets=InMoneyCore())
    dispatcher = Dispatcher(
        {"payments": routes(bank.engine, reading, verifications or _Unverified())},
        verifier=tokens,
        metrics=RequestMetrics(CollectorRegistry()),
        service_names=("transaction",),
    )
    app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app),
        base_url="http://guilder.test",
        headers={"Authorization": f"Bearer {ANNA}"},
    ) as http:
        yield http
