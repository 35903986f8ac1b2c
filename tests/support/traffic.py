"""Customers who pay under load and through faults, and remember what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import UserId, WalletId
from guilder.payments.api import PaymentOrder
from tests.support.bank import Bank, person, transfer

_PURSE_MINOR = 100_000


@dataclass(slots=True, kw_only=True)
class Traffic:
    """Transfers in a ring of wallets. ``acknowledged`` holds the payment's id by its key."""

    ring: Sequence[tuple[UserId, WalletId]]
    acknowledged: dict[str, UUID] = field(default_factory=dict)
    refused: int = 0
    _stopped: bool = False
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def flow(self, bank: Bank) -> None:
        """Every customer sends one transfer after the other until `stop`, each until answered."""
        await asyncio.gather(*(self._customer(bank, number) for number in range(len(self.ring))))

    def stop(self) -> None:
        """What is being sent is sent until it is answered; nothing new is."""
        self._stopped = True

    async def hear(self, more: int) -> None:
        """Return once so many more transfers were acknowledged than there are now."""
        enough = len(self.acknowledged) + more
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.acknowledged) >= enough)

    async def _customer(self, bank: Bank, number: int) -> None:
        owner_id, source = self.ring[number]
        _, to = self.ring[(number + 1) % len(self.ring)]
        while not self._stopped:
            order = transfer(owner_id, source, to, amount_minor=1)
            while not await self._is_answered(bank, order):
                self.refused += 1

    async def _is_answered(self, bank: Bank, order: PaymentOrder) -> bool:
        try:
            outcome = await bank.engine.pay(order)
        except Refusal:
            return False
        assert outcome.refusal is None
        assert outcome.payment is not None
        async with self._heard:
            self.acknowledged[order.key] = outcome.payment.id
            self._heard.notify_all()
        return True

    async def lost_or_doubled(self, bank: Bank) -> list[str]:
        """Keys of acknowledged transfers that are not there exactly once, as they were told."""
        rows = await bank.db.fetch(
            "SELECT idempotency_key, array_agg(id) FROM payments.transactions "
            "WHERE type = 'transfer' AND status = 'completed' GROUP BY idempotency_key"
        )
        kept = {row[0]: row[1] for row in rows}
        return [key for key, told in self.acknowledged.items() if kept.get(key) != [told]]


async def ring_of(bank: Bank, *, customers: int) -> Traffic:
    """Traffic among new customers, each with money for all they will send."""
    ring = []
    for _ in range(customers):
        owner_id = person()
        ring.append((owner_id, await bank.open(owner_id, funds_minor=_PURSE_MINOR)))
    return Traffic(ring=ring)
