"""SQL of users, their accounts and roles."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from guilder.identity.api import AccountType, AccountView
from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.platform.envelopes import OuterKeys

_ADD_USER: Final = """
    INSERT INTO identity.users (id, email, email_key, phone, full_name, password_hash)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING id
"""
_WHO_HAS: Final = """
    SELECT id, CASE WHEN email_key = $1 THEN 'email' ELSE 'phone' END AS field
    FROM identity.users WHERE email_key = $1 OR phone = $2
"""
_ADD_ACCOUNT: Final = """
    INSERT INTO identity.accounts (id, user_id, type) VALUES ($1, $2, $3)
"""
_ADD_ROLE: Final = """
    INSERT INTO identity.role_assignments (account_id, role) VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    RETURNING assigned_at
"""
_ACCOUNT_COLUMNS: Final = """
    SELECT a.id, a.user_id, a.type, u.email, u.phone, u.full_name, u.status, u.kyc_status,
        u.created_at, u.password_hash,
        ARRAY(
            SELECT role FROM identity.role_assignments r WHERE r.account_id = a.id ORDER BY role
        ) AS roles
    FROM identity.accounts a JOIN identity.users u ON u.id = a.user_id
"""
_ACCOUNT: Final = f"{_ACCOUNT_COLUMNS} WHERE a.id = $1"
# A user's own account has the user's id; it is meant when no type is named.
_SIGN_IN_ACCOUNT: Final = f"""
    {_ACCOUNT_COLUMNS}
    WHERE (u.email_key = $1 OR u.phone = $2)
        AND CASE WHEN $3::text IS NULL THEN a.id = a.user_id ELSE a.type = $3::text END
"""


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


class UserStore:
    """Reads and writes users. ``keys`` wrap the key that each person's data is encrypted with."""

    def __init__(self, *, keys: OuterKeys) -> None:
        self._keys = keys

    async def add_user(self, tx: Tx, user: NewUser) -> bool:
        """Whether the user was written; False when email, phone or id is there already."""
        added = await tx.fetchval(
            _ADD_USER,
            user.id,
            user.email,
            user.email_key,
            user.phone,
            user.full_name,
            user.password_hash,
        )
        return added is not None

    async def who_has(self, tx: Tx, *, email_key: str, phone: str | None) -> dict[UserId, str]:
        """Users with this email or phone, each with which of the two it is; both are "email"."""
        rows = await tx.fetch(_WHO_HAS, email_key, phone)
        return {UserId(row["id"]): row["field"] for row in rows}

    async def add_account(self, tx: Tx, *, id: UserId, user_id: UserId, type: AccountType) -> None:  # noqa: A002 - the columns' names
        """Write an account of a user."""
        await tx.execute(_ADD_ACCOUNT, id, user_id, type.value)

    async def add_role(self, tx: Tx, *, account_id: UserId, role: str) -> datetime | None:
        """When the role was assigned; None if the account had it already."""
        assigned_at: datetime | None = await tx.fetchval(_ADD_ROLE, account_id, role)
        return assigned_at

    async def account(self, tx: Tx, account_id: UserId) -> AccountView | None:
        """The account with this id."""
        row = await tx.fetchrow(_ACCOUNT, account_id)
        return None if row is None else _view(row)

    async def sign_in_account(
        self, tx: Tx, *, email_key: str | None, phone: str | None, account_type: AccountType | None
    ) -> SignInRow | None:
        """The account somebody means who names an email or a phone, and perhaps a type."""
        wanted = None if account_type is None else account_type.value
        row = await tx.fetchrow(_SIGN_IN_ACCOUNT, email_key, phone, wanted)
        if row is None:
            return None
        return SignInRow(account=_view(row), password_hash=row["password_hash"])


async def database_time(tx: Tx) -> datetime:
    """The server's time at this moment."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


def _view(row: Row) -> AccountView:
    return AccountView(
        id=UserId(row["id"]),
        user_id=UserId(row["user_id"]),
        account_type=AccountType(row["type"]),
        email=row["email"],
        phone=row["phone"],
        full_name=row["full_name"],
        status=row["status"],
        kyc_status=row["kyc_status"],
        roles=tuple(row["roles"]),
        created_at=row["created_at"],
    )
