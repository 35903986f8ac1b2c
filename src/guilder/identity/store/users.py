"""SQL of users, their accounts and roles. What is personal of a user is encrypted by field.

Rows from before there were keys of persons have it in clear until they are sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final
from uuid import UUID

from guilder.identity.api import AccountType, AccountView
from guilder.identity.store import person_keys
from guilder.identity.store.person_keys import EMAIL, PHONE, PersonalKeys, opened, sealed
from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.platform.envelopes import Unreadable

_ADD_USER: Final = """
    INSERT INTO identity.users
        (id, email_sealed, phone_sealed, full_name_sealed, password_hash)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""
_WRITTEN_BEFORE: Final = """
    SELECT EXISTS (SELECT FROM identity.users WHERE email_key = $1)
        OR EXISTS (SELECT FROM identity.users WHERE phone = $2)
"""
# Each branch finds its rows by an index of its own.
_HOLDERS: Final = """
    SELECT user_id AS id, kind FROM identity.contact_digests
    WHERE kind = 'email' AND digest = ANY($1::bytea[])
    UNION SELECT user_id, kind FROM identity.contact_digests
    WHERE kind = 'phone' AND digest = ANY($2::bytea[])
    UNION SELECT id, 'email' FROM identity.users WHERE email_key = $3
    UNION SELECT id, 'phone' FROM identity.users WHERE phone = $4
"""
_WHO_HAS: Final = f"SELECT id, min(kind) AS field FROM ({_HOLDERS}) AS holders GROUP BY id"
_ADD_ACCOUNT: Final = """
    INSERT INTO identity.accounts (id, user_id, type) VALUES ($1, $2, $3)
"""
_ADD_ROLE: Final = """
    INSERT INTO identity.role_assignments (account_id, role) VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    RETURNING assigned_at
"""
_ACCOUNT_COLUMNS: Final = """
    SELECT a.id, a.user_id, a.type, u.status, u.kyc_status, u.created_at, u.password_hash,
        u.email, u.phone, u.full_name, u.email_sealed, u.phone_sealed, u.full_name_sealed,
        u.sign_in_epoch, u.email_verified_at IS NOT NULL AS email_verified,
        u.phone_verified_at IS NOT NULL AS phone_verified, k.id AS key_id, k.wrapped,
        ARRAY(
            SELECT role FROM identity.role_assignments r WHERE r.account_id = a.id ORDER BY role
        ) AS roles
    FROM identity.accounts a
    JOIN identity.users u ON u.id = a.user_id AND u.status <> 'erased'
    LEFT JOIN identity.person_keys k ON k.user_id = u.id
"""
_ACCOUNT: Final = f"{_ACCOUNT_COLUMNS} WHERE a.id = $1"
# A user's own account has the user's id; it is meant when no type is named.
_SIGN_IN_ACCOUNT: Final = f"""
    {_ACCOUNT_COLUMNS}
    WHERE u.id IN (SELECT id FROM ({_HOLDERS}) AS holders)
        AND CASE WHEN $5::text IS NULL THEN a.id = a.user_id ELSE a.type = $5::text END
"""
_LOCK_USER: Final = "SELECT FROM identity.users WHERE id = $1 FOR NO KEY UPDATE"
_SET_FULL_NAME: Final = "UPDATE identity.users SET full_name_sealed = $2 WHERE id = $1"
_SET_PLAIN_FULL_NAME: Final = "UPDATE identity.users SET full_name = $2 WHERE id = $1"
_NOBODY: Final = UserId(UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user about to be written."""

    id: UserId
    email: str
    email_key: str
    phone: str | None
    full_name: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRow:
    """An account with what its password must match."""

    account: AccountView
    password_hash: str = field(repr=False)


class Added(Enum):
    """What came of adding a user."""

    NEW = auto()
    REPEATED = auto()
    """This very user is there, of an attempt whose answer was lost."""
    TAKEN = auto()
    """Somebody else has the email or the phone. The transaction has to be given up."""


class UserStore:
    """Reads and writes users. ``keys`` are those that each person's data is encrypted with."""

    def __init__(self, *, keys: PersonalKeys) -> None:
        self._keys = keys
        self._nobody: Mapping[str, Any] | None = None

    async def add_user(self, tx: Tx, user: NewUser) -> Added:
        """Write a user, encrypted, with a key of their own.

        Raises:
            KeyUnusable: the key folder lacks a key that is in use.
        """
        made = self._keys.make(user.id)
        written = await tx.fetchval(
            _ADD_USER,
            user.id,
            sealed(user.email, key=made.key, user_id=user.id, column="email"),
            sealed(user.phone, key=made.key, user_id=user.id, column="phone"),
            sealed(user.full_name, key=made.key, user_id=user.id, column="full_name"),
            user.password_hash,
        )
        if written is None:
            return Added.REPEATED
        await person_keys.add_key(tx, user.id, made)
        claimed = await person_keys.claim_contacts(
            tx, user.id, keys=self._keys, email_key=user.email_key, phone=user.phone
        )
        # After the claim: who is sealed at the same time waits for it, and is still in clear.
        if not claimed or await tx.fetchval(_WRITTEN_BEFORE, user.email_key, user.phone):
            return Added.TAKEN
        return Added.NEW

    async def who_has(
        self, tx: Tx, *, email_key: str | None, phone: str | None
    ) -> dict[UserId, str]:
        """Users with this email or phone, each with which of the two it is; both are "email"."""
        rows = await tx.fetch(_WHO_HAS, *self._named(email_key, phone))
        return {UserId(row["id"]): row["field"] for row in rows}

    async def add_account(self, tx: Tx, *, id: UserId, user_id: UserId, type: AccountType) -> None:  # noqa: A002 - the columns' names
        """Write an account of a user."""
        await tx.execute(_ADD_ACCOUNT, id, user_id, type.value)

    async def add_role(self, tx: Tx, *, account_id: UserId, role: str) -> datetime | None:
        """When the role was assigned; None if the account had it already."""
        assigned_at: datetime | None = await tx.fetchval(_ADD_ROLE, account_id, role)
        return assigned_at

    async def account(self, tx: Tx, account_id: UserId) -> AccountView | None:
        """The account with this id; None also when its user is erased.

        Raises:
            Unreadable: what is encrypted was changed, or its key is not here.
        """
        row = await tx.fetchrow(_ACCOUNT, account_id)
        return None if row is None else self._view(row)

    async def sign_in_account(
        self, tx: Tx, *, email_key: str | None, phone: str | None, account_type: AccountType | None
    ) -> SignInRow | None:
        """The account somebody means who names an email or a phone, and perhaps a type.

        Raises:
            Unreadable: what is encrypted was changed, or its key is not here.
        """
        wanted = None if account_type is None else account_type.value
        row = await tx.fetchrow(_SIGN_IN_ACCOUNT, *self._named(email_key, phone), wanted)
        if row is None:
            self._open_nobody()
            return None
        return SignInRow(account=self._view(row), password_hash=row["password_hash"])

    async def set_full_name(self, tx: Tx, user_id: UserId, full_name: str) -> None:
        """Store another name of a user, encrypted where the user is."""
        # The user before the key, as everybody does: who is just being encrypted is waited for.
        await tx.execute(_LOCK_USER, user_id)
        key = await person_keys.lock_key(tx, user_id)
        if key is None:
            await tx.execute(_SET_PLAIN_FULL_NAME, user_id, full_name)
            return
        found = self._keys.open(user_id, id=key["id"], wrapped=key["wrapped"])
        text = sealed(full_name, key=found, user_id=user_id, column="full_name")
        await tx.execute(_SET_FULL_NAME, user_id, text)

    def _named(
        self, email_key: str | None, phone: str | None
    ) -> tuple[list[bytes], list[bytes], str | None, str | None]:
        """What `_HOLDERS` is asked with."""
        emails, phones = self._keys.digests(EMAIL, email_key), self._keys.digests(PHONE, phone)
        return emails, phones, email_key, phone

    def _view(self, row: Row) -> AccountView:
        user_id = UserId(row["user_id"])
        email, phone, full_name = self._personal(user_id, row)
        return AccountView(
            id=UserId(row["id"]),
            user_id=user_id,
            account_type=AccountType(row["type"]),
            email=email,
            phone=phone,
            full_name=full_name,
            status=row["status"],
            kyc_status=row["kyc_status"],
            roles=tuple(row["roles"]),
            created_at=row["created_at"],
            sign_in_epoch=row["sign_in_epoch"],
            email_verified=row["email_verified"],
            phone_verified=row["phone_verified"],
        )

    def _personal(
        self, user_id: UserId, row: Row | Mapping[str, Any]
    ) -> tuple[str, str | None, str]:
        """A user's email, phone and name."""
        if row["email_sealed"] is None:
            return row["email"], row["phone"], row["full_name"]
        if row["wrapped"] is None:
            raise Unreadable
        key = self._keys.open(user_id, id=row["key_id"], wrapped=row["wrapped"])
        email, phone, full_name = (
            opened(row[f"{column}_sealed"], key=key, user_id=user_id, column=column)
            for column in ("email", "phone", "full_name")
        )
        if email is None or full_name is None:
            raise Unreadable
        return email, phone, full_name

    def _open_nobody(self) -> None:
        """Open what nobody has, so that the answer takes as long for a name that is nobody's."""
        if self._nobody is None:
            made = self._keys.make(_NOBODY)
            self._nobody = {"key_id": made.key.id, "wrapped": made.wrapped} | {
                f"{column}_sealed": sealed("", key=made.key, user_id=_NOBODY, column=column)
                for column in ("email", "phone", "full_name")
            }
        self._personal(_NOBODY, self._nobody)


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment
