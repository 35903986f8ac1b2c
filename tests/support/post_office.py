"""Webhooks on a real database: people who register receivers, events, and workers who send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from guilder.kernel.ids import EventId, UserId, WalletId
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.platform.bus import Event
from guilder.platform.checks import Finding, run_checks
from guilder.platform.db import Database
from guilder.platform.egress import Egress, EgressRules, Resolver, SystemResolver
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.outward import CallLimits, OutwardHttp
from guilder.wallets.events import WalletCreated
from guilder.webhooks.domain.records import Delivery, Endpoint
from guilder.webhooks.service.fan_out import FanOut
from guilder.webhooks.service.figures import Figures
from guilder.webhooks.service.registration import Registration
from guilder.webhooks.service.replays import DeliveryLog
from guilder.webhooks.service.sending import Plan, Sending
from guilder.webhooks.store.checks import CHECKS
from tests.support.receivers import Receiver
from tests.support.waiting import PATIENCE_S

SOON = (0.0,) * 9
"""Waits of a schedule that does not wait."""
BRIEF = CallLimits(connect_s=1, total_s=1)
"""For receivers that are to be given up on. Leases are a little longer."""
AMPLE = CallLimits(connect_s=30, total_s=60)


class PostOffice:
    """The use cases of webhooks, and workers as other processes have them."""

    def __init__(
        self,
        db: Database,
        *,
        keys: Path,
        resolver: Resolver | None = None,
        allow: Sequence[str] = ("127.0.0.1:*",),
        overlap: timedelta = timedelta(hours=1),
        limits: CallLimits = AMPLE,
        **plan: Any,
    ) -> None:
        self.db = db
        self._keys = keys
        self.egress = Egress(
            EgressRules(https_only=False, allow=allow), resolver=resolver or SystemResolver()
        )
        self.limits = limits
        self.plan = Plan(**{"waits_s": SOON, **plan})
        self.registration = Registration(
            db,
            keys=OuterKeys(keys),
            egress=self.egress,
            at_once=self.plan.at_once,
            overlap=overlap,
        )
        self.log = DeliveryLog(db, at_once=self.plan.at_once)
        self.fan_out = FanOut(db, at_once=self.plan.at_once)
        self.registry = CollectorRegistry()
        self.figures = Figures(self.registry)
        self.worker = self.another_worker()

    def another_worker(self, *, limits: CallLimits | None = None) -> Sending:
        """One more process that sends. All share this office's figures."""
        return Sending(
            self.db,
            keys=OuterKeys(self._keys),
            http=OutwardHttp(self.egress, limits=limits or self.limits),
            plan=self.plan,
            figures=self.figures,
            jitter=lambda: 0,
        )

    async def register(
        self, owner_id: UserId, receiver: Receiver, *events: str
    ) -> tuple[Endpoint, str]:
        """An endpoint at ``receiver`` for all of its owner's events, unless some are named."""
        return await self.registration.register(owner_id, url=receiver.url, events=events or ("*",))

    async def hear(self, *events: Event) -> None:
        await self.db.run(lambda tx: self.fan_out.hear(tx, events))

    async def send(self) -> int:
        """Send what is due and wait until it is settled, until nothing is due any more."""
        sent = 0
        while begun := await self.worker.send_due():
            sent += begun
            await self.worker.settled()
        return sent

    async def deliveries(self, endpoint: Endpoint) -> list[Delivery]:
        """An endpoint's deliveries, oldest first."""
        found = await self.log.list_deliveries(
            endpoint.owner_id, endpoint_id=endpoint.id, before=None, state=None, limit=200
        )
        return found[::-1]

    async def states(self, endpoint: Endpoint) -> list[str]:
        return [delivery.state.value for delivery in await self.deliveries(endpoint)]

    async def endpoint(self, endpoint: Endpoint) -> Endpoint:
        return await self.registration.view(endpoint.owner_id, endpoint_id=endpoint.id)

    async def findings(self) -> list[Finding]:
        """What `guilder verify` finds."""
        done = await run_checks(self.db, CHECKS)
        return [finding for checked in done for finding in checked.findings]

    def figure(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def working(worker: Sending) -> AsyncIterator[None]:
    """A worker that sends by itself until the block ends."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(task, return_exceptions=True)


def wallet_of(owner_id: UserId) -> tuple[WalletId, Event]:
    """A new wallet of somebody, and the event that tells of it."""
    wallet_id = WalletId(new_id())
    data = {"wallet_id": wallet_id, "owner_id": owner_id, "currency": "INR", "status": "active"}
    return wallet_id, event(WalletCreated.TYPE, key=wallet_id, **data)


def paid(source: WalletId | None, to: WalletId | None) -> Event:
    """Money went from one wallet to another."""
    return event(TransactionCompleted.TYPE, key=source or to, **_money(source, to))


def failed(by: UserId, source: WalletId | None, to: WalletId | None) -> Event:
    """Somebody tried to pay and could not."""
    data = _money(source, to) | {"initiated_by": by, "reason": "INSUFFICIENT_FUNDS"}
    return event(TransactionFailed.TYPE, key=source or to, **data)


def event(type_: str, *, key: object, **data: object) -> Event:
    """An event as the bus brings it: its data has only what JSON has."""
    plain = {name: value if value is None else str(value) for name, value in data.items()}
    return Event(id=EventId(new_id()), type=type_, key=str(key), time=datetime.now(UTC), data=plain)


def _money(source: WalletId | None, to: WalletId | None) -> dict[str, object]:
    return {
        "transaction_id": new_id(),
        "transaction_type": "transfer",
        "initiated_by": new_id(),
        "from_wallet_id": source,
        "to_wallet_id": to,
        "amount": "10.00",
        "currency": "INR",
    }
