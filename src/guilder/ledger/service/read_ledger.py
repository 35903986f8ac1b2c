"""Reads for people and auditors: accounts, transactions, entries, statements, proofs of balance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from guilder.kernel.currencies import CURRENCIES, Currency
from guilder.kernel.errors import Overloaded
from guilder.kernel.ids import AccountId, TransactionId, UserId
from guilder.ledger.api import (
    Account,
    AccountNotFound,
    EntryDraft,
    Ledger,
    TransactionNotFound,
)
from guilder.ledger.domain.chain import GENESIS
from guilder.ledger.domain.listings import AccountFilter, TrialLine
from guilder.ledger.store import reads, slices, views
from guilder.ledger.store.slices import Slice
from guilder.ledger.store.transactions import lines_of, taken
from guilder.platform.db import Database, Row, Tx

VERIFIED_AT_ONCE: Final = 20_000
CHAINS_AT_ONCE: Final = 2
"""How many chains a process verifies at once. Each one has a connection for as long as it takes."""
CHAINS_WAITING: Final = 8
_RETRY_AFTER_S: Final = 5
_REMEMBERED: Final = 100_000


class EntryView(Struct, frozen=True, kw_only=True):
    """A stored entry with its currency and its hash."""

    account_id: AccountId
    sequence: int
    transaction_id: TransactionId
    amount_minor: int
    balance_after_minor: int
    currency: Currency
    kind: str
    description: str
    effective_at: datetime
    recorded_at: datetime
    hash: bytes


class TransactionView(Struct, frozen=True, kw_only=True):
    """A transaction, its state, its entries; while it is a hold, also the lines it holds."""

    id: TransactionId
    kind: str
    state: str
    description: str
    metadata: str
    effective_at: datetime
    recorded_at: datetime
    expires_at: datetime | None
    reverses_id: TransactionId | None
    digest: bytes
    held_minor: int | None
    held_lines: tuple[EntryDraft, ...]
    held_currency: Currency | None
    entries: tuple[EntryView, ...]


class Statement(Struct, frozen=True, kw_only=True):
    """An account over a time: what it began and ended with, and a page of what lies between."""

    account: Account
    opening_minor: int
    closing_minor: int
    entries: tuple[EntryView, ...]
    has_more: bool


class ReadLedger:
    """Reads see one moment each. ``seen_by`` None reads any account; a user only their own."""

    def __init__(self, db: Database, *, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger
        self._currencies: dict[AccountId, Currency] = {}
        self._chains = asyncio.Semaphore(CHAINS_AT_ONCE)
        self._chains_asked_for = 0

    async def account(self, account_id: AccountId, *, seen_by: UserId | None = None) -> Account:
        """One account.

        Raises:
            AccountNotFound: it does not exist, or is not theirs.
        """
        async with self._db.snapshot() as tx:
            return await self._seen(tx, account_id, seen_by)

    async def accounts(
        self, wanted: AccountFilter, *, after: AccountId, limit: int
    ) -> list[Account]:
        """Accounts in order of their ids, from behind ``after``."""
        async with self._db.snapshot() as tx:
            return await views.list_accounts(tx, wanted, after=after, limit=limit)

    async def currencies(self, account_ids: set[AccountId]) -> Mapping[AccountId, Currency]:
        """In which currency each of these accounts is; others may be in it, missing ones are not.

        The currency of an account never changes, so it is read once and remembered.
        """
        unknown = account_ids - self._currencies.keys()
        if unknown:
            async with self._db.snapshot() as tx:
                found = await views.currencies(tx, unknown)
            if len(self._currencies) + len(found) > _REMEMBERED:
                self._currencies = {}
                return {**found, **await self.currencies(account_ids - found.keys())}
            self._currencies.update(found)
        return self._currencies

    async def is_stored(self, transaction_id: TransactionId) -> bool:
        """Whether there is a transaction of this id."""
        async with self._db.snapshot() as tx:
            return bool(await taken(tx, [transaction_id]))

    async def transaction(self, transaction_id: TransactionId) -> TransactionView:
        """One transaction with its entries.

        Raises:
            TransactionNotFound: it does not exist.
        """
        async with self._db.snapshot() as tx:
            row = await views.transaction(tx, transaction_id)
            if row is None:
                raise TransactionNotFound(transaction_id=str(transaction_id))
            entries = await views.entries_of_transaction(tx, transaction_id)
            lines = lines_of(row["held_lines"]) if row["held_lines"] else ()
            first = await self._ledger.accounts(tx, [lines[0].account_id]) if lines else {}
        currency = first[lines[0].account_id].currency if lines else None
        return _transaction(row, entries, lines=lines, currency=currency)

    async def is_balanced(self, transaction_id: TransactionId) -> bool:
        """Whether its stored entries sum to zero in each currency.

        Raises:
            TransactionNotFound: it does not exist.
        """
        async with self._db.snapshot() as tx:
            row = await views.transaction(tx, transaction_id)
            if row is None:
                raise TransactionNotFound(transaction_id=str(transaction_id))
            sums = await views.sums_by_currency(tx, transaction_id)
        if row["state"] != "posted":
            return not sums
        return bool(sums) and all(
            line["sum_minor"] == 0 and line["currency"] is not None for line in sums
        )

    async def entries(
        self,
        account_id: AccountId,
        *,
        seen_by: UserId | None,
        before_sequence: int | None,
        offset: int,
        limit: int,
    ) -> list[EntryView]:
        """A page of an account's entries, newest first, from below ``before_sequence``.

        ``offset`` skips that many of the newest; it costs nothing, for sequences have no gaps.

        Raises:
            AccountNotFound: it does not exist, or is not theirs.
        """
        async with self._db.snapshot() as tx:
            account = await self._seen(tx, account_id, seen_by)
            newest = account.sequence if before_sequence is None else before_sequence - 1
            rows = await views.entries_between(
                tx,
                account_id,
                after_sequence=0,
                up_to_sequence=newest - offset,
                newest_first=True,
                limit=limit,
            )
        return [_entry(row) for row in rows]

    async def statement(
        self,
        account_id: AccountId,
        *,
        seen_by: UserId | None,
        start: datetime | None,
        end: datetime | None,
        after_sequence: int | None,
        limit: int,
    ) -> Statement:
        """An account's entries recorded after ``start`` up to ``end``, oldest first.

        Raises:
            AccountNotFound: it does not exist, or is not theirs.
        """
        async with self._db.snapshot() as tx:
            account = await self._seen(tx, account_id, seen_by)
            first = 0 if start is None else await reads.sequence_at(tx, account_id, start)
            last = account.sequence if end is None else await reads.sequence_at(tx, account_id, end)
            rows = await views.entries_between(
                tx,
                account_id,
                after_sequence=max(first, after_sequence or 0),
                up_to_sequence=last,
                newest_first=False,
                limit=limit + 1,
            )
            opening = await reads.balance_after(tx, account_id, sequence=first)
            closing = await reads.balance_after(tx, account_id, sequence=max(first, last))
        return Statement(
            account=account,
            opening_minor=opening,
            closing_minor=closing,
            entries=tuple(_entry(row) for row in rows[:limit]),
            has_more=len(rows) > limit,
        )

    async def balance_at(self, account_id: AccountId, *, at: datetime) -> tuple[Account, int]:
        """An account, and its balance after all entries recorded up to ``at``.

        Raises:
            AccountNotFound: it does not exist.
        """
        async with self._db.snapshot() as tx:
            account = await self._seen(tx, account_id, None)
            return account, await self._ledger.balance_at(tx, account_id, at)

    async def trial_balance(self, *, at: datetime | None) -> list[TrialLine]:
        """Debits and credits by currency, type and code, now or as recorded up to ``at``."""
        async with self._db.snapshot() as tx:
            return await views.trial_balance(tx, at=at)

    async def first_tampered(
        self, account_id: AccountId, *, seen_by: UserId | None = None
    ) -> int | None:
        """The sequence from which an account's chain does not hold any more; None: it is whole.

        Every hash is computed anew, over every column of the entry and of its transaction. Few are
        verified at once: a long chain takes seconds, and payments need connections, too.

        Raises:
            AccountNotFound: it does not exist, or is not theirs.
            Overloaded: too many wait to have theirs verified.
        """
        if self._chains_asked_for >= CHAINS_AT_ONCE + CHAINS_WAITING:
            raise Overloaded(retry_after_s=_RETRY_AFTER_S)
        self._chains_asked_for += 1
        try:
            async with self._chains:
                return await self._first_tampered(account_id, seen_by)
        finally:
            self._chains_asked_for -= 1

    async def _first_tampered(self, account_id: AccountId, seen_by: UserId | None) -> int | None:
        async with self._db.snapshot() as tx:
            account = await self._seen(tx, account_id, seen_by)
            last_hash, balance, good = GENESIS, 0, 0
            while good < account.sequence:
                up_to = min(account.sequence, good + VERIFIED_AT_ONCE)
                piece = Slice(
                    account_id=account_id,
                    after_sequence=good,
                    up_to_sequence=up_to,
                    hash=last_hash,
                    balance_minor=balance,
                )
                row = (await slices.verify_slices(tx, [piece])).get(account_id)
                if row is None or row["broken_sequence"] is not None:
                    return good + 1 if row is None else int(row["broken_sequence"])
                if row["last_sequence"] != up_to:
                    return int(row["last_sequence"]) + 1
                net = row["debits"] - row["credits"]
                balance += net if account.type.is_debit_normal else -net
                last_hash, good = row["last_hash"], up_to
        is_head = (last_hash, balance) == (account.last_hash, account.balance_minor)
        return None if is_head else max(good, 1)

    async def _seen(self, tx: Tx, account_id: AccountId, seen_by: UserId | None) -> Account:
        found = (await self._ledger.accounts(tx, [account_id])).get(account_id)
        if found is None:
            raise AccountNotFound(account_id=str(account_id))
        if seen_by is not None and found.owner_id != seen_by:
            raise AccountNotFound.of_another(account_id=str(account_id))
        return found


def _transaction(
    row: Row, entries: Sequence[Row], *, lines: tuple[EntryDraft, ...], currency: Currency | None
) -> TransactionView:
    return TransactionView(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        description=row["description"],
        metadata=row["metadata"],
        effective_at=row["effective_at"],
        recorded_at=row["recorded_at"],
        expires_at=row["expires_at"],
        reverses_id=row["reverses_id"],
        digest=row["digest"],
        held_minor=row["held_minor"],
        held_lines=lines,
        held_currency=currency,
        entries=tuple(_entry(entry) for entry in entries),
    )


def _entry(row: Row) -> EntryView:
    return EntryView(
        account_id=row["account_id"],
        sequence=row["sequence"],
        transaction_id=row["transaction_id"],
        amount_minor=row["amount_minor"],
        balance_after_minor=row["balance_after_minor"],
        currency=CURRENCIES[row["currency"]],
        kind=row["kind"],
        description=row["description"],
        effective_at=row["effective_at"],
        recorded_at=row["recorded_at"],
        hash=row["hash"],
    )
