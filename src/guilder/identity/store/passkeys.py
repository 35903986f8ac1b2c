"""SQL of passkeys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from guilder.identity.api import AccountType
from guilder.identity.api.passkeys import PasskeyView
from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx, rows_done

_VIEW: Final = "id, name, is_synced, added_at, last_used_at"
_ADD: Final = f"""
    INSERT INTO identity.passkeys (
        id, user_id, credential_id, public_key, sign_count, is_synced, transports, name, added_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING {_VIEW}
"""
_OF_USER: Final = f"SELECT {_VIEW} FROM identity.passkeys WHERE user_id = $1 ORDER BY id"
_ONE: Final = f"SELECT {_VIEW} FROM identity.passkeys WHERE id = $1"
_KNOWN: Final = """
    SELECT credential_id, transports FROM identity.passkeys WHERE user_id = $1 ORDER BY id
"""
_HOLDER: Final = "SELECT user_id FROM identity.passkeys WHERE credential_id = $1"
_TO_VERIFY: Final = """
    SELECT id, user_id, public_key, sign_count FROM identity.passkeys WHERE credential_id = $1
"""
_USED: Final = """
    UPDATE identity.passkeys
    SET sign_count = $2, is_synced = $3, last_used_at = clock_timestamp() WHERE id = $1
"""
_REMOVE: Final = "DELETE FROM identity.passkeys WHERE id = $1 AND user_id = $2"
_REMOVE_ALL: Final = "DELETE FROM identity.passkeys WHERE user_id = $1"
# A user's own account has the user's id; it is meant when no type is named.
_ACCOUNT: Final = """
    SELECT id FROM identity.accounts
    WHERE user_id = $1 AND CASE WHEN $2::text IS NULL THEN id = user_id ELSE type = $2::text END
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPasskey:
    """A passkey about to be written."""

    id: UUID
    user_id: UserId
    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    is_synced: bool
    transports: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPasskey:
    """What a browser is told of a passkey, so that it can offer it or leave it out."""

    credential_id: bytes
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyRow:
    """What a signature is verified with, and whose it then is."""

    id: UUID
    user_id: UserId
    public_key: bytes = field(repr=False)
    sign_count: int


async def add(tx: Tx, passkey: NewPasskey) -> PasskeyView | None:
    """The passkey as written; None if somebody has this credential already."""
    row = await tx.fetchrow(
        _ADD,
        passkey.id,
        passkey.user_id,
        passkey.credential_id,
        passkey.public_key,
        passkey.sign_count,
        passkey.is_synced,
        list(passkey.transports),
        passkey.name,
    )
    return None if row is None else _view(row)


async def of_user(tx: Tx, user_id: UserId) -> Sequence[PasskeyView]:
    """The user's passkeys, oldest first."""
    return [_view(row) for row in await tx.fetch(_OF_USER, user_id)]


async def one(tx: Tx, passkey_id: UUID) -> PasskeyView | None:
    """The passkey with this id."""
    row = await tx.fetchrow(_ONE, passkey_id)
    return None if row is None else _view(row)


async def known(tx: Tx, user_id: UserId) -> Sequence[KnownPasskey]:
    """The user's passkeys as a browser is told of them."""
    return [
        KnownPasskey(credential_id=row["credential_id"], transports=tuple(row["transports"]))
        for row in await tx.fetch(_KNOWN, user_id)
    ]


async def holder(tx: Tx, credential_id: bytes) -> UserId | None:
    """Whose passkey this is."""
    found: UUID | None = await tx.fetchval(_HOLDER, credential_id)
    return None if found is None else UserId(found)


async def to_verify(tx: Tx, credential_id: bytes) -> PasskeyRow | None:
    """What is needed to verify a signature of this credential."""
    row = await tx.fetchrow(_TO_VERIFY, credential_id)
    return None if row is None else PasskeyRow(**row)


async def mark_used(tx: Tx, passkey_id: UUID, *, sign_count: int, is_synced: bool) -> None:
    """Keep what the authenticator said of itself."""
    await tx.execute(_USED, passkey_id, sign_count, is_synced)


async def remove(tx: Tx, passkey_id: UUID, *, user_id: UserId) -> bool:
    """Whether the user had it."""
    return rows_done(await tx.execute(_REMOVE, passkey_id, user_id)) > 0


async def remove_all(tx: Tx, user_id: UserId) -> None:
    """The user has no passkeys any more."""
    await tx.execute(_REMOVE_ALL, user_id)


async def account_of(tx: Tx, user_id: UserId, *, account_type: AccountType | None) -> UserId | None:
    """The user's account of a type, or their own."""
    wanted = None if account_type is None else account_type.value
    found: UUID | None = await tx.fetchval(_ACCOUNT, user_id, wanted)
    return None if found is None else UserId(found)


def _view(row: Row) -> PasskeyView:
    return PasskeyView(**row)
