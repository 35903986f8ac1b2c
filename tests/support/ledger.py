"""Small ways to say ledger things in tests: accounts of Anna and Ben, drafts, postings."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from guilder.kernel.currencies import INR, Currency
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import AccountId, TransactionId, UserId
from guilder.ledger.api import (
    Account,
    AccountType,
    EntryDraft,
    NewAccount,
    PlatformAccount,
    TransactionDraft,
    platform_account_id,
)
from guilder.ledger.service.posting import PostgresLedger
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id

BANK = platform_account_id(PlatformAccount.SETTLEMENT_SIMULATED, INR)


def draft(*entries: tuple[AccountId, int], **fields: Any) -> TransactionDraft:
    """A transaction of ``(account, amount)`` pairs, debits positive."""
    fields.setdefault("id", TransactionId(new_id()))
    fields.setdefault("kind", "transfer")
    return TransactionDraft(entries=tuple(EntryDraft(*entry) for entry in entries), **fields)


def transfer(
    source: AccountId, target: AccountId, amount_minor: int, **fields: Any
) -> TransactionDraft:
    """Money from one customer's account to another's; both are liabilities."""
    return draft((source, amount_minor), (target, -amount_minor), **fields)


class Teller:
    """Opens accounts and posts to them, each act a transaction of its own."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.ledger = PostgresLedger()

    async def open(
        self,
        owner_id: UserId | None = None,
        *,
        currency: Currency = INR,
        funds_minor: int = 0,
        floor_minor: int | None = 0,
        account_type: AccountType = AccountType.LIABILITY,
    ) -> AccountId:
        """A customer's account with money from the simulated bank in it."""
        account = NewAccount(
            id=AccountId(new_id()),
            owner_id=owner_id or UserId(new_id()),
            code="wallet",
            type=account_type,
            currency=currency,
            floor_minor=floor_minor,
        )
        await self.db.run(lambda tx: self.ledger.open_account(tx, account))
        if funds_minor:
            bank = platform_account_id(PlatformAccount.SETTLEMENT_SIMULATED, currency)
            refusal = await self.post(
                draft((bank, funds_minor), (account.id, -funds_minor), kind="deposit")
            )
            assert refusal is None
        return account.id

    async def post(self, *drafts: TransactionDraft) -> Refusal | None:
        """Post drafts in one book; the first refusal, or None."""

        async def work(tx: Tx) -> Refusal | None:
            ids = {entry.account_id for item in drafts for entry in item.entries}
            book = await self.ledger.open_book(tx, ids)
            refusals = [book.post(item) for item in drafts]
            await self.ledger.write(tx, book)
            return next((refusal for refusal in refusals if refusal is not None), None)

        return await self.db.run(work)

    async def settle(self, hold_id: TransactionId, **amount: Any) -> Refusal | None:
        async def work(tx: Tx) -> Refusal | None:
            book = await self.ledger.open_book(tx, [], holds=[hold_id])
            refusal = book.settle(hold_id, **amount)
            await self.ledger.write(tx, book)
            return refusal

        return await self.db.run(work)

    async def void(self, hold_id: TransactionId) -> Refusal | None:
        async def work(tx: Tx) -> Refusal | None:
            book = await self.ledger.open_book(tx, [], holds=[hold_id])
            refusal = book.void(hold_id)
            await self.ledger.write(tx, book)
            return refusal

        return await self.db.run(work)

    async def read(self, account_id: AccountId) -> Account:
        found = await self.db.run(lambda tx: self.ledger.accounts(tx, [account_id]))
        return found[account_id]

    async def balances(self, account_ids: Collection[AccountId]) -> list[int]:
        found = await self.db.run(lambda tx: self.ledger.accounts(tx, account_ids))
        return [found[account_id].balance_minor for account_id in account_ids]

    async def now(self) -> datetime:
        moment: datetime = await self.db.fetchval("SELECT clock_timestamp()")
        return moment
