"""Loads a book under lock and writes what was posted in it, set-based: a statement, not a loop."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.ids import AccountId, ControlId, UserId
from guilder.ledger.api import (
    Account,
    AccountStatus,
    AccountType,
    ControlLimits,
    Direction,
    NewAccount,
    NewControl,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.controls import Control, local_date
from guilder.ledger.domain.seals import account_seal, control_seal
from guilder.ledger.store.holds import end_holds, insert_holds
from guilder.platform.db import Row, Tx

_ACCOUNT_COLUMNS: Final = """
    id, owner_id, code, type, currency, posted_debits, posted_credits, pending_debits,
    pending_credits, floor_minor, status, sequence, last_hash, last_entry_at
"""
# The rows are locked in the order they leave the sort below: in id order, for everybody.
_LOCK_ACCOUNTS: Final = f"""
    SELECT {_ACCOUNT_COLUMNS} FROM ledger.accounts
    WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_READ_ACCOUNTS: Final = f"""
    SELECT {_ACCOUNT_COLUMNS} FROM ledger.accounts WHERE id = ANY($1::uuid[])
"""
_LOCK_CONTROLS: Final = """
    SELECT id, subject_id, currency, direction, kinds, per_transaction_minor, per_day_minor,
        per_month_minor, time_zone, day, day_used_minor, month_used_minor, created_at
    FROM ledger.controls
    WHERE subject_id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_INSERT_ACCOUNTS: Final = """
    INSERT INTO ledger.accounts
        (id, owner_id, code, type, currency, floor_minor, status, created_at, seal)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
        $6::bigint[], $7::text[], $8::timestamptz[], $9::bytea[])
    ON CONFLICT DO NOTHING
"""
_INSERT_TRANSACTIONS: Final = """
    INSERT INTO ledger.transactions (id, kind, description, metadata, effective_at, recorded_at,
        expires_at, reverses_id, digest)
    SELECT id, kind, description, metadata::json, effective_at, $9, expires_at, reverses_id, digest
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
        $6::timestamptz[], $7::uuid[], $8::bytea[])
        AS t(id, kind, description, metadata, effective_at, expires_at, reverses_id, digest)
"""
_WRITE_ENTRIES: Final = """
    WITH written AS (
        INSERT INTO ledger.entries (account_id, sequence, transaction_id, amount_minor,
            balance_after_minor, recorded_at, hash)
        SELECT account_id, sequence, transaction_id, amount_minor, balance_after_minor, $7, hash
        FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bytea[])
            AS e(account_id, sequence, transaction_id, amount_minor, balance_after_minor, hash)
    )
    UPDATE ledger.accounts a
    SET posted_debits = v.posted_debits, posted_credits = v.posted_credits,
        pending_debits = v.pending_debits, pending_credits = v.pending_credits,
        sequence = v.sequence, last_hash = v.last_hash, last_entry_at = v.last_entry_at
    FROM unnest($8::uuid[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
        $13::bigint[], $14::bytea[], $15::timestamptz[])
        AS v(id, posted_debits, posted_credits, pending_debits, pending_credits, sequence,
            last_hash, last_entry_at)
    WHERE a.id = v.id
"""
_WRITE_CONTROLS: Final = """
    UPDATE ledger.controls c
    SET day = v.day, day_used_minor = v.day_used_minor, month_used_minor = v.month_used_minor
    FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::bigint[])
        AS v(id, day, day_used_minor, month_used_minor)
    WHERE c.id = v.id
"""
_WRITE_STATUS: Final = """
    UPDATE ledger.accounts SET status = $2, seal = $3 WHERE id = $1
"""
_CREATED_AT: Final = "SELECT created_at FROM ledger.accounts WHERE id = $1"
_INSERT_CONTROL: Final = """
    INSERT INTO ledger.controls AS c (id, subject_id, currency, direction, kinds,
        per_transaction_minor, per_day_minor, per_month_minor, time_zone, day, created_at, seal)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (id) DO NOTHING
"""
_CHANGE_CONTROL: Final = """
    UPDATE ledger.controls SET kinds = $2, per_transaction_minor = $3, per_day_minor = $4,
        per_month_minor = $5, time_zone = $6, seal = $7
    WHERE id = $1
"""
_LOCK_CONTROL: Final = "SELECT created_at FROM ledger.controls WHERE id = $1 FOR NO KEY UPDATE"
_TYPES: Final = {item.value: item for item in AccountType}
_STATUSES: Final = {item.value: item for item in AccountStatus}


async def insert_accounts(tx: Tx, accounts: Collection[NewAccount], *, created_at: datetime) -> int:
    """Insert accounts whose ids are not taken, and answer how many that were."""
    done = await tx.execute(
        _INSERT_ACCOUNTS,
        [account.id for account in accounts],
        [account.owner_id for account in accounts],
        [account.code for account in accounts],
        [account.type.value for account in accounts],
        [account.currency.code for account in accounts],
        [account.floor_minor for account in accounts],
        [account.status.value for account in accounts],
        [created_at] * len(accounts),
        [account_seal(account, created_at=created_at) for account in accounts],
    )
    return int(done.rpartition(" ")[2])


async def lock_accounts(tx: Tx, account_ids: Collection[AccountId]) -> list[Account]:
    """Lock accounts in id order and read them."""
    return [_account(row) for row in await tx.fetch(_LOCK_ACCOUNTS, account_ids)]


async def read_accounts(tx: Tx, account_ids: Collection[AccountId]) -> list[Account]:
    """Read accounts without locking them."""
    return [_account(row) for row in await tx.fetch(_READ_ACCOUNTS, account_ids)]


async def lock_controls(tx: Tx, subject_ids: Collection[UserId | AccountId]) -> list[Control]:
    """Lock the controls on accounts or owners in id order and read them."""
    return [_control(row) for row in await tx.fetch(_LOCK_CONTROLS, subject_ids)]


async def write_status(tx: Tx, account: Account) -> None:
    """Store the status of a locked account, sealed anew."""
    created_at = await tx.fetchval(_CREATED_AT, account.id)
    seal = account_seal(account, created_at=created_at)
    await tx.execute(_WRITE_STATUS, account.id, account.status.value, seal)


async def insert_control(tx: Tx, control: NewControl, *, now: datetime) -> None:
    """Insert a control unless its id is taken."""
    await tx.execute(
        _INSERT_CONTROL,
        control.id,
        control.subject_id,
        control.currency.code,
        control.direction.value,
        *_allowed(control),
        local_date(now, control.time_zone),
        now,
        control_seal(control, created_at=now),
    )


async def upsert_control(tx: Tx, control: NewControl, *, now: datetime) -> None:
    """Insert a control, or change what the one with this id allows."""
    created_at = await tx.fetchval(_LOCK_CONTROL, control.id)
    if created_at is None:
        await insert_control(tx, control, now=now)
    else:
        seal = control_seal(control, created_at=created_at)
        await tx.execute(_CHANGE_CONTROL, control.id, *_allowed(control), seal)


def _allowed(control: NewControl) -> tuple[object, ...]:
    return (
        None if control.kinds is None else sorted(control.kinds),
        control.limits.per_transaction_minor,
        control.limits.per_day_minor,
        control.limits.per_month_minor,
        control.time_zone,
    )


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment, not at the start of the transaction."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


async def write_book(tx: Tx, book: LockedBook) -> None:
    """Write what was posted: transactions, entries and sums, holds, use of controls."""
    if book.transactions:
        await _write_transactions(tx, book)
    accounts = book.changed_accounts
    if accounts:
        await _write_entries(tx, book, accounts)
    if book.holds:
        await insert_holds(tx, book.holds)
    if book.ended_holds:
        await end_holds(tx, book.ended_holds)
    controls = book.changed_controls
    if controls:
        await tx.execute(
            _WRITE_CONTROLS,
            [control.id for control in controls],
            [control.day for control in controls],
            [control.day_used_minor for control in controls],
            [control.month_used_minor for control in controls],
        )


async def _write_transactions(tx: Tx, book: LockedBook) -> None:
    posted = book.transactions
    drafts = [transaction.draft for transaction in posted]
    await tx.execute(
        _INSERT_TRANSACTIONS,
        [draft.id for draft in drafts],
        [draft.kind for draft in drafts],
        [draft.description for draft in drafts],
        [draft.metadata for draft in drafts],
        [transaction.effective_at for transaction in posted],
        [draft.expires_at for draft in drafts],
        [draft.reverses.id if draft.reverses else None for draft in drafts],
        [transaction.digest for transaction in posted],
        book.now,
    )


async def _write_entries(tx: Tx, book: LockedBook, accounts: list[Account]) -> None:
    entries = book.entries
    await tx.execute(
        _WRITE_ENTRIES,
        [entry.account_id for entry in entries],
        [entry.sequence for entry in entries],
        [entry.transaction_id for entry in entries],
        [entry.amount_minor for entry in entries],
        [entry.balance_after_minor for entry in entries],
        [entry.hash for entry in entries],
        book.now,
        [account.id for account in accounts],
        [account.posted_debits for account in accounts],
        [account.posted_credits for account in accounts],
        [account.pending_debits for account in accounts],
        [account.pending_credits for account in accounts],
        [account.sequence for account in accounts],
        [account.last_hash for account in accounts],
        [account.last_entry_at for account in accounts],
    )


def _account(row: Row) -> Account:
    return Account(
        id=row[0],
        owner_id=row[1],
        code=row[2],
        type=_TYPES[row[3]],
        currency=CURRENCIES[row[4]],
        posted_debits=row[5],
        posted_credits=row[6],
        pending_debits=row[7],
        pending_credits=row[8],
        floor_minor=row[9],
        status=_STATUSES[row[10]],
        sequence=row[11],
        last_hash=row[12],
        last_entry_at=row[13],
    )


def _control(row: Row) -> Control:
    return Control(
        id=ControlId(row[0]),
        subject_id=row[1],
        currency=CURRENCIES[row[2]],
        direction=Direction(row[3]),
        kinds=None if row[4] is None else frozenset(row[4]),
        limits=ControlLimits(
            per_transaction_minor=row[5], per_day_minor=row[6], per_month_minor=row[7]
        ),
        time_zone=row[8],
        day=row[9],
        day_used_minor=row[10],
        month_used_minor=row[11],
        created_at=row[12],
    )
