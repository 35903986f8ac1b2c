"""Loads a book under lock and writes what was posted in it, set-based: a statement, not a loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.ids import AccountId, UserId
from guilder.kernel.invariant import invariant
from guilder.ledger.api import (
    Account,
    AccountStatus,
    AccountType,
    NewAccount,
)
from guilder.ledger.domain.book import LockedBook
from guilder.ledger.domain.floors import FloorChange
from guilder.ledger.domain.seals import account_seal, floor_change_seal
from guilder.ledger.store import packed
from guilder.ledger.store.holds import write_of_ended, write_of_opened
from guilder.platform.db import Row, Tx, rows_done
from guilder.platform.db_rows import rows
from guilder.platform.db_writes import Write

ACCOUNT_COLUMNS: Final = """
    id, owner_id, code, type, currency, posted_debits, posted_credits, pending_debits,
    pending_credits, floor_minor, status, sequence, last_hash, moved_at
"""
# The rows are locked in the order they leave the sort below: in id order, for everybody.
_LOCK_ACCOUNTS: Final = f"""
    SELECT {ACCOUNT_COLUMNS} FROM ledger.accounts
    WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""
_LOCK_FREE: Final = """
    SELECT id FROM ledger.accounts
    WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
_READ_ACCOUNTS: Final = f"""
    SELECT {ACCOUNT_COLUMNS} FROM ledger.accounts WHERE id = ANY($1::uuid[])
"""
_LOCK_ACCOUNTS_OF: Final = f"""
    SELECT {ACCOUNT_COLUMNS} FROM ledger.accounts
    WHERE id = $1 OR owner_id = $1 ORDER BY id FOR NO KEY UPDATE
"""
_INSERT_ACCOUNTS: Final = """
    INSERT INTO ledger.accounts
        (id, owner_id, code, type, currency, floor_minor, status, created_at, seal)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
        $6::bigint[], $7::text[], $8::timestamptz[], $9::bytea[])
    ON CONFLICT DO NOTHING
"""
_OPENED: Final = (
    (
        "opened",
        """
        INSERT INTO ledger.accounts
            (id, code, type, currency, floor_minor, status, created_at, seal, posted_debits,
            posted_credits, pending_debits, pending_credits, sequence, last_hash, moved_at)
        SELECT id, code, type, currency, floor_minor, status, $1, seal, posted_debits,
            posted_credits, pending_debits, pending_credits, sequence, last_hash, $1
        FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[],
            $8::bytea[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
            $14::bytea[])
            AS new(id, code, type, currency, floor_minor, status, seal, posted_debits,
                posted_credits, pending_debits, pending_credits, sequence, last_hash)
        """,
    ),
)
# Whoever opens one waits for the others, but for programs of a version that did not.
_PLATFORMS: Final = frozenset({"ledger.accounts_pkey", "ledger.platform_accounts"})
# Each row is one value: see the migration of these types.
_BOOK: Final = (
    (
        "recorded",
        f"""
        INSERT INTO ledger.transactions (id, kind, description, metadata, effective_at,
            recorded_at, expires_at, reverses_id, digest)
        SELECT id, kind, description, metadata::json, effective_at, $1, expires_at, reverses_id,
            digest
        FROM unnest($2::{packed.TRANSACTIONS})
        """,
    ),
    (
        "entered",
        f"""
        INSERT INTO ledger.entries (account_id, sequence, transaction_id, amount_minor,
            balance_after_minor, recorded_at, hash)
        SELECT account_id, sequence, transaction_id, amount_minor, balance_after_minor, $1, hash
        FROM unnest($3::{packed.ENTRIES})
        """,
    ),
    (
        "moved",
        f"""
        UPDATE ledger.accounts a
        SET posted_debits = v.posted_debits, posted_credits = v.posted_credits,
            pending_debits = v.pending_debits, pending_credits = v.pending_credits,
            sequence = v.sequence, last_hash = v.last_hash, moved_at = $1
        FROM unnest($4::{packed.ACCOUNTS}) AS v
        WHERE a.id = v.id
        """,
    ),
    (
        "used",
        f"""
        UPDATE ledger.controls c
        SET used_at = v.used_at, day_used_minor = v.day_used_minor,
            month_used_minor = v.month_used_minor, seal = v.seal
        FROM unnest($5::{packed.CONTROLS}) AS v
        WHERE c.id = v.id
        """,
    ),
)
# An entry that stands where one is to be written is no race: somebody edited its account.
_IDS: Final = frozenset({"ledger.transactions_pkey"})
_WRITE_STATUS: Final = """
    UPDATE ledger.accounts SET status = $2, seal = $3 WHERE id = $1
"""
_CREATED_AT: Final = "SELECT created_at FROM ledger.accounts WHERE id = $1"
_WRITE_FLOOR: Final = "UPDATE ledger.accounts SET floor_minor = $2, seal = $3 WHERE id = $1"
_INSERT_FLOOR_CHANGE: Final = """
    INSERT INTO ledger.floor_changes
        (account_id, number, after_sequence, previous_floor_minor, floor_minor, changed_at, seal)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_FLOOR_CHANGES: Final = "SELECT count(*) FROM ledger.floor_changes WHERE account_id = $1"
_FIRST_FLOOR: Final = """
    SELECT CASE WHEN c.account_id IS NULL THEN a.floor_minor ELSE c.previous_floor_minor END
    FROM ledger.accounts a
    LEFT JOIN ledger.floor_changes c ON c.account_id = a.id AND c.number = 1
    WHERE a.id = $1
"""
_LOCK_SUBJECTS: Final = """
    SELECT pg_advisory_xact_lock(hashtextextended('ledger.subject:' || id, 0))
    FROM unnest($1::uuid[]) AS subjects(id)
"""
_BUSY_SUBJECTS: Final = """
    SELECT id FROM unnest($1::uuid[]) AS subjects(id)
    WHERE NOT pg_try_advisory_xact_lock(hashtextextended('ledger.subject:' || id, 0))
"""
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
    return rows_done(done)


async def lock_accounts(tx: Tx, account_ids: Collection[AccountId]) -> list[Account]:
    """Lock accounts in id order and read them."""
    return [account_from(row) for row in await tx.fetch(_LOCK_ACCOUNTS, account_ids)]


async def lock_free(tx: Tx, account_ids: Collection[AccountId]) -> set[AccountId]:
    """Lock those of these accounts that nobody else has locked, and answer which they are."""
    return {AccountId(row[0]) for row in await tx.fetch(_LOCK_FREE, account_ids)}


async def read_accounts(tx: Tx, account_ids: Collection[AccountId]) -> list[Account]:
    """Read accounts without locking them."""
    return [account_from(row) for row in await tx.fetch(_READ_ACCOUNTS, account_ids)]


async def lock_subjects(tx: Tx, ids: Collection[UserId | AccountId]) -> None:
    """Wait for whoever opens an account of these subjects or sets a control on them.

    Neither sees what the other has not committed, so they take turns. In id order, like all locks.
    """
    await tx.execute(_LOCK_SUBJECTS, sorted(ids))


async def busy_subjects(tx: Tx, ids: Collection[AccountId]) -> set[AccountId]:
    """For which of these `lock_subjects` would wait. The others are locked."""
    return {AccountId(row[0]) for row in await tx.fetch(_BUSY_SUBJECTS, sorted(ids))}


async def lock_accounts_of(tx: Tx, subject_id: UserId | AccountId) -> list[Account]:
    """Lock the account of this id or the accounts of this owner, in id order, and read them."""
    return [account_from(row) for row in await tx.fetch(_LOCK_ACCOUNTS_OF, subject_id)]


async def write_status(tx: Tx, account: Account) -> None:
    """Store the status of a locked account, sealed anew."""
    created_at = await tx.fetchval(_CREATED_AT, account.id)
    seal = account_seal(account, created_at=created_at)
    await tx.execute(_WRITE_STATUS, account.id, account.status.value, seal)


async def floor_changes(tx: Tx, account_id: AccountId) -> int:
    """How often the floor of a locked account has changed."""
    count: int = await tx.fetchval(_FLOOR_CHANGES, account_id)
    return count


async def first_floor(tx: Tx, account_id: AccountId) -> int | None:
    """The floor that an account was opened with."""
    floor_minor: int | None = await tx.fetchval(_FIRST_FLOOR, account_id)
    return floor_minor


async def write_floor(tx: Tx, account: Account, *, change: FloorChange) -> None:
    """Store the floor of a locked account, sealed anew, and that it changed."""
    created_at = await tx.fetchval(_CREATED_AT, account.id)
    seal = account_seal(account, created_at=created_at)
    await tx.execute(_WRITE_FLOOR, account.id, account.floor_minor, seal)
    await tx.execute(
        _INSERT_FLOOR_CHANGE,
        change.account_id,
        change.number,
        change.after_sequence,
        change.previous_floor_minor,
        change.floor_minor,
        change.changed_at,
        floor_change_seal(change),
    )


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment, not at the start of the transaction."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


def writes_of(book: LockedBook) -> list[Write]:
    """What was posted: transactions, entries and sums, use of controls, holds and their ends.

    It is a race where an id was taken while the book was open.
    """
    if not (book.transactions or book.ended_holds):
        return []
    posted = Write(
        parts=_BOOK,
        args=(
            book.now,
            rows([packed.transaction(posted) for posted in book.transactions]),
            rows([packed.entry(posted) for posted in book.entries]),
            rows([packed.account(account) for account in book.changed_accounts]),
            rows([packed.control(control) for control in book.changed_controls]),
        ),
        races=_IDS,
    )
    opened_here = {hold.transaction_id for hold in book.holds}
    ended_here = {hold.transaction_id for hold in book.ended_holds}
    invariant(opened_here.isdisjoint(ended_here), "a hold ends in a later book than it was opened")
    writes = [posted]
    if book.opened_accounts:
        writes.append(_write_of_opened(book.opened_accounts, now=book.now))
    if book.holds:
        writes.append(write_of_opened(book.holds))
    if book.ended_holds:
        writes.append(write_of_ended(book.ended_holds))
    return writes


def _write_of_opened(accounts: Sequence[Account], *, now: datetime) -> Write:
    """The platform's accounts that are used for the first time, as they are after it."""
    return Write(
        parts=_OPENED,
        args=(
            now,
            [account.id for account in accounts],
            [account.code for account in accounts],
            [account.type.value for account in accounts],
            [account.currency.code for account in accounts],
            [account.floor_minor for account in accounts],
            [account.status.value for account in accounts],
            [account_seal(account, created_at=now) for account in accounts],
            [account.posted_debits for account in accounts],
            [account.posted_credits for account in accounts],
            [account.pending_debits for account in accounts],
            [account.pending_credits for account in accounts],
            [account.sequence for account in accounts],
            [account.last_hash for account in accounts],
        ),
        races=_PLATFORMS,
    )


def account_from(row: Row) -> Account:
    """The account in a row of `ACCOUNT_COLUMNS`."""
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
        moved_at=row[13],
    )
