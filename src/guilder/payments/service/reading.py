"""Reads of payments by those who took part in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from guilder.kernel.ids import TransactionId, UserId, WalletId
from guilder.payments.api import Payment, PaymentNotFound, Search
from guilder.payments.store import reads
from guilder.platform.db import Database, Tx
from guilder.wallets.api import WalletNotFound, Wallets

AFTER_ALL: Final = TransactionId(UUID(int=2**128 - 1))
"""An id that every payment comes before."""


class PaymentReading:
    """Looks at payments. Who only received sees no failed attempts."""

    def __init__(self, db: Database, *, wallets: Wallets) -> None:
        self._db = db
        self._wallets = wallets

    async def one(self, caller_id: UserId, *, payment_id: TransactionId) -> Payment:
        """A payment that the caller made or received.

        Raises:
            PaymentNotFound: it does not exist, or the caller has no part in it.
        """
        async with self._db.snapshot() as tx:
            payment = await reads.one(tx, payment_id)
            if payment is None:
                raise PaymentNotFound
            if payment.order.caller_id == caller_id:
                return payment
            mine = await self._wallets.of_owner(tx, caller_id)
        if payment.failure is not None or payment.order.to_wallet_id not in mine:
            raise PaymentNotFound.of_another()
        return payment

    async def page(
        self,
        caller_id: UserId,
        *,
        search: Search,
        before: TransactionId = AFTER_ALL,
        limit: int,
        wallet_id: WalletId | None = None,
    ) -> list[Payment]:
        """The caller's payments, newest first, of one wallet or of all.

        Raises:
            WalletNotFound: the wallet does not exist or is somebody else's.
        """
        async with self._db.snapshot() as tx:
            wallets = await self._mine(tx, caller_id, wallet_id)
            return await reads.page(tx, wallets, search=search, before=before, limit=limit)

    async def _mine(
        self, tx: Tx, caller_id: UserId, wallet_id: WalletId | None
    ) -> Sequence[WalletId]:
        mine = await self._wallets.of_owner(tx, caller_id)
        if wallet_id is None:
            return mine
        if wallet_id not in mine:
            if await self._wallets.exists(tx, wallet_id):
                raise WalletNotFound.of_another()
            raise WalletNotFound
        return [wallet_id]
