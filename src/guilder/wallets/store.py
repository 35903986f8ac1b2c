"""Wallets as rows, and what must be true of them beside their ledger accounts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct, structs

from guilder.kernel.clock import epoch_microseconds
from guilder.kernel.currencies import CURRENCIES, Currency
from guilder.kernel.ids import UserId, WalletId
from guilder.kernel.seals import seal
from guilder.platform.checks import Check, sql_check
from guilder.platform.db import Row, Tx
from guilder.wallets.api import WALLET_ACCOUNT_CODE, Wallet, WalletStatus
from guilder.wallets.domain import StandingWallet

_COLUMNS: Final = """
    id, owner_id, currency, label, status, frozen_by_staff, is_default, created_at, changed_at
"""
_INSERT: Final = """
    INSERT INTO wallets.wallets
        (id, owner_id, currency, label, status, is_default, created_at, changed_at, seal)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)
    ON CONFLICT (owner_id, currency) WHERE is_default DO NOTHING
    RETURNING created_at
"""
_FIND: Final = """
    SELECT id, owner_id, currency, status FROM wallets.wallets WHERE id = ANY($1::uuid[])
"""
_ONE: Final = f"SELECT {_COLUMNS} FROM wallets.wallets WHERE id = $1"
_LOCK: Final = f"{_ONE} FOR NO KEY UPDATE"
_PAGE: Final = f"""
    SELECT {_COLUMNS} FROM wallets.wallets
    WHERE owner_id = $1 AND id > $2 ORDER BY id LIMIT $3
"""
_OF_OWNER: Final = "SELECT id FROM wallets.wallets WHERE owner_id = $1 ORDER BY id"
_COUNT: Final = "SELECT count(*) FROM wallets.wallets WHERE owner_id = $1"
_DEFAULT: Final = f"""
    SELECT {_COLUMNS} FROM wallets.wallets
    WHERE owner_id = $1 AND currency = $2 AND is_default
"""
_WRITE_STANDING: Final = """
    UPDATE wallets.wallets
    SET status = $2, frozen_by_staff = $3, changed_at = $4, seal = $5
    WHERE id = $1
"""
_UNLABEL: Final = "UPDATE wallets.wallets SET label = '', seal = $2 WHERE id = $1"
_NOTE_OWNER_FREEZE: Final = """
    INSERT INTO wallets.owner_freezes (wallet_id, freeze_id) VALUES ($1, $2)
"""
_FORGET_OWNER_FREEZE: Final = "DELETE FROM wallets.owner_freezes WHERE wallet_id = $1"
_FROZEN_WITH_OWNER: Final = """
    SELECT wallet_id FROM wallets.owner_freezes WHERE freeze_id = $1 ORDER BY wallet_id
"""
_SEALS: Final = """
    SELECT id::text AS row, 'its seal does not match its columns' AS detail
    FROM wallets.wallets
    WHERE seal <> platform.seal(id::text, owner_id::text, currency, label, status,
        frozen_by_staff::text, is_default::text, platform.epoch_us(created_at)::text,
        platform.epoch_us(changed_at)::text)
"""
# Whoever runs the ledger may freeze an active wallet's account; nothing opens the others'.
_ACCOUNTS: Final = f"""
    SELECT COALESCE(w.id, a.id)::text AS row,
        CASE WHEN a.id IS NULL THEN 'it has no ledger account'
            WHEN w.id IS NULL THEN 'it is an account without a wallet'
            ELSE format('it is %s of %s in %s; its account is a %s, %s, of %s in %s', w.status,
                w.owner_id, w.currency, a.type, a.status, a.owner_id, a.currency) END AS detail
    FROM wallets.wallets w
    FULL JOIN (SELECT * FROM ledger.accounts WHERE code = '{WALLET_ACCOUNT_CODE}') AS a
        ON a.id = w.id
    WHERE a.id IS NULL OR w.id IS NULL OR a.owner_id IS DISTINCT FROM w.owner_id
       OR a.currency <> w.currency OR a.type <> 'liability'
       OR (w.status = 'closed') <> (a.status = 'closed')
       OR (w.status IN ('pending', 'frozen') AND a.status <> 'frozen')
"""
_CONTROLS: Final = """
    SELECT w.id::text AS row, format('no control limits the %s of its owner', d.direction) AS detail
    FROM wallets.wallets w CROSS JOIN (VALUES ('outflow'), ('inflow')) AS d(direction)
    WHERE NOT EXISTS (
        SELECT FROM ledger.controls c
        WHERE c.subject_id = w.owner_id AND c.currency = w.currency AND c.direction = d.direction)
"""
_LIVES: Final = """
    SELECT id::text AS row, 'it is ' || status || ', frozen by staff: ' || frozen_by_staff
        || ', opened ' || created_at || ', changed ' || changed_at AS detail
    FROM wallets.wallets
    WHERE (frozen_by_staff AND status <> 'frozen') OR changed_at < created_at
"""
_OWNER_FREEZES: Final = """
    SELECT f.wallet_id::text AS row, 'it is noted as frozen with its owner, and is '
        || COALESCE(w.status, 'no wallet') AS detail
    FROM wallets.owner_freezes f LEFT JOIN wallets.wallets w ON w.id = f.wallet_id
    WHERE w.id IS NULL OR NOT w.frozen_by_staff
"""

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "wallet seals",
        table="wallets.wallets",
        invariant="a seal covers every column of a wallet",
        query=_SEALS,
    ),
    sql_check(
        "wallet accounts",
        table="wallets.wallets",
        invariant="a wallet has an account of its owner and currency, open only while it is active",
        query=_ACCOUNTS,
    ),
    sql_check(
        "wallet controls",
        table="wallets.wallets",
        invariant="what an owner pays out and pays in is limited in each currency",
        query=_CONTROLS,
    ),
    sql_check(
        "wallet lives",
        table="wallets.wallets",
        invariant="only a frozen wallet was frozen by staff, and none changed before it was opened",
        query=_LIVES,
    ),
    sql_check(
        "wallets frozen with their owner",
        table="wallets.owner_freezes",
        invariant="what was frozen because its owner was is a wallet that staff have frozen",
        query=_OWNER_FREEZES,
    ),
)


class StoredWallet(Struct, frozen=True, kw_only=True):
    """A wallet as its row says."""

    id: WalletId
    owner_id: UserId
    currency: Currency
    label: str
    standing: StandingWallet
    is_default: bool
    created_at: datetime
    changed_at: datetime


async def insert(tx: Tx, wallet: StoredWallet) -> bool:
    """Insert a wallet; false when the owner has that default wallet already."""
    created = await tx.fetchval(
        _INSERT,
        wallet.id,
        wallet.owner_id,
        wallet.currency.code,
        wallet.label,
        wallet.standing.status.value,
        wallet.is_default,
        wallet.created_at,
        _seal(wallet),
    )
    return created is not None


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


async def find(tx: Tx, wallet_ids: Collection[WalletId]) -> dict[WalletId, Wallet]:
    """The wallets with these ids, as other contexts see them."""
    return {
        row[0]: Wallet(
            id=row[0], owner_id=row[1], currency=CURRENCIES[row[2]], status=_STATUSES[row[3]]
        )
        for row in await tx.fetch(_FIND, wallet_ids)
    }


async def one(tx: Tx, wallet_id: WalletId) -> StoredWallet | None:
    """One wallet, unlocked."""
    row = await tx.fetchrow(_ONE, wallet_id)
    return None if row is None else _wallet(row)


async def lock(tx: Tx, wallet_id: WalletId) -> StoredWallet | None:
    """One wallet under its row lock. Its ledger account is locked before."""
    row = await tx.fetchrow(_LOCK, wallet_id)
    return None if row is None else _wallet(row)


async def default_of(tx: Tx, owner_id: UserId, currency: Currency) -> StoredWallet | None:
    """The owner's default wallet in a currency."""
    row = await tx.fetchrow(_DEFAULT, owner_id, currency.code)
    return None if row is None else _wallet(row)


async def page(tx: Tx, owner_id: UserId, *, after: WalletId, limit: int) -> list[StoredWallet]:
    """An owner's wallets in order of opening."""
    return [_wallet(row) for row in await tx.fetch(_PAGE, owner_id, after, limit)]


async def ids_of_owner(tx: Tx, owner_id: UserId) -> list[WalletId]:
    """The ids of all wallets of an owner."""
    return [row["id"] for row in await tx.fetch(_OF_OWNER, owner_id)]


async def count_of_owner(tx: Tx, owner_id: UserId) -> int:
    """How many wallets an owner has ever had."""
    count: int = await tx.fetchval(_COUNT, owner_id)
    return count


async def write_standing(tx: Tx, wallet: StoredWallet) -> None:
    """Store the standing of a locked wallet, sealed anew."""
    await tx.execute(
        _WRITE_STANDING,
        wallet.id,
        wallet.standing.status.value,
        wallet.standing.frozen_by_staff,
        wallet.changed_at,
        _seal(wallet),
    )


async def unlabel(tx: Tx, wallet: StoredWallet) -> None:
    """Forget what its owner called a locked wallet, sealed anew."""
    await tx.execute(_UNLABEL, wallet.id, _seal(structs.replace(wallet, label="")))


async def note_owner_freeze(tx: Tx, wallet_id: WalletId, *, freeze_id: UUID) -> None:
    """Note that a locked wallet is frozen because its owner is, by that freeze."""
    await tx.execute(_NOTE_OWNER_FREEZE, wallet_id, freeze_id)


async def forget_owner_freeze(tx: Tx, wallet_id: WalletId) -> None:
    """Note that a locked wallet is not frozen because of its owner, if it ever was."""
    await tx.execute(_FORGET_OWNER_FREEZE, wallet_id)


async def frozen_with_owner(tx: Tx, freeze_id: UUID) -> list[WalletId]:
    """The wallets that are frozen because of that freeze of their owner."""
    return [row["wallet_id"] for row in await tx.fetch(_FROZEN_WITH_OWNER, freeze_id)]


def _seal(wallet: StoredWallet) -> bytes:
    return seal(
        str(wallet.id),
        str(wallet.owner_id),
        wallet.currency.code,
        wallet.label,
        wallet.standing.status.value,
        str(wallet.standing.frozen_by_staff).lower(),
        str(wallet.is_default).lower(),
        str(epoch_microseconds(wallet.created_at)),
        str(epoch_microseconds(wallet.changed_at)),
    )


_STATUSES: Final = {status.value: status for status in WalletStatus}


def _wallet(row: Row) -> StoredWallet:
    return StoredWallet(
        id=row["id"],
        owner_id=row["owner_id"],
        currency=CURRENCIES[row["currency"]],
        label=row["label"],
        standing=StandingWallet(
            status=_STATUSES[row["status"]], frozen_by_staff=row["frozen_by_staff"]
        ),
        is_default=row["is_default"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )
