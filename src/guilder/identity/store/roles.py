"""SQL of roles, permissions and who is appointed to what.

Every change is made under one lock, so whoever has it reads what will still be true at the commit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from guilder.identity.api import AccountType
from guilder.identity.api.roles import PermissionView
from guilder.kernel.ids import UserId
from guilder.platform.db import Row, Tx
from guilder.platform.permissions import ADMIN

_LOCK: Final = "SELECT FROM identity.roles WHERE name = $1 FOR NO KEY UPDATE"
_ROLES: Final = """
    SELECT name, description, permissions, comes_with_guilder FROM identity.roles
    ORDER BY NOT comes_with_guilder, name
"""
_ROLE: Final = """
    SELECT name, description, permissions, comes_with_guilder FROM identity.roles WHERE name = $1
"""
_ADD: Final = """
    INSERT INTO identity.roles (name, description, permissions, made_by) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING name
"""
_CHANGE: Final = """
    UPDATE identity.roles SET description = $2, permissions = $3, changed_at = clock_timestamp()
    WHERE name = $1
"""
_REMOVE: Final = "DELETE FROM identity.roles WHERE name = $1"
_IS_HELD: Final = "SELECT EXISTS (SELECT FROM identity.role_assignments WHERE role = $1)"
_PERMISSIONS: Final = "SELECT name, meaning FROM identity.permissions ORDER BY name"
_ADD_PERMISSION: Final = """
    INSERT INTO identity.permissions (name, meaning, made_by) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING RETURNING name
"""
_APPOINTED: Final = """
    SELECT a.id, a.user_id, a.type, u.status, ARRAY(
        SELECT role FROM identity.role_assignments r WHERE r.account_id = a.id ORDER BY role
    ) AS roles
    FROM identity.accounts a JOIN identity.users u ON u.id = a.user_id
    WHERE a.id = $1 AND u.status <> 'erased'
"""
_ASSIGN: Final = """
    INSERT INTO identity.role_assignments (account_id, role) SELECT $1, unnest($2::text[])
    ON CONFLICT DO NOTHING
"""
_WITHDRAW: Final = """
    DELETE FROM identity.role_assignments WHERE account_id = $1 AND role = ANY($2::text[])
"""
_OTHER_ADMINISTRATORS: Final = """
    SELECT EXISTS (
        SELECT FROM identity.role_assignments r
        JOIN identity.accounts a ON a.id = r.account_id
        JOIN identity.users u ON u.id = a.user_id
        WHERE r.role = $1 AND a.user_id <> $2 AND u.status NOT IN ('frozen', 'erased')
    )
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRole:
    """A role as its row says; the release says what those grant that come with Guilder."""

    name: str
    description: str
    permissions: frozenset[str]
    comes_with_guilder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointed:
    """An account and what it is appointed to."""

    account_id: UserId
    user_id: UserId
    account_type: AccountType
    status: str
    roles: frozenset[str]


async def lock(tx: Tx) -> None:
    """Be the only one who changes roles, appointments, or whether an administrator can sign in.

    It is taken before the lock on any user.
    """
    await tx.execute(_LOCK, ADMIN)


async def every(tx: Tx) -> list[StoredRole]:
    """Every role, those that come with Guilder first."""
    return [_role(row) for row in await tx.fetch(_ROLES)]


async def one(tx: Tx, name: str) -> StoredRole | None:
    """The role of this name."""
    row = await tx.fetchrow(_ROLE, name)
    return None if row is None else _role(row)


async def add(
    tx: Tx, name: str, *, description: str, permissions: Collection[str], made_by: UserId
) -> bool:
    """Whether the role was added; False when there is one of this name."""
    row = (name, description, sorted(permissions), made_by)
    return await tx.fetchval(_ADD, *row) is not None


async def change(tx: Tx, name: str, *, description: str, permissions: Collection[str]) -> None:
    """Let a role grant something else."""
    await tx.execute(_CHANGE, name, description, sorted(permissions))


async def remove(tx: Tx, name: str) -> None:
    """Delete a role that nobody has."""
    await tx.execute(_REMOVE, name)


async def is_held(tx: Tx, name: str) -> bool:
    """Whether an account has this role."""
    held: bool = await tx.fetchval(_IS_HELD, name)
    return held


async def permissions(tx: Tx) -> list[PermissionView]:
    """The permissions that this installation has added, by name."""
    return [
        PermissionView(name=row["name"], meaning=row["meaning"], comes_with_guilder=False)
        for row in await tx.fetch(_PERMISSIONS)
    ]


async def add_permission(tx: Tx, name: str, *, meaning: str, made_by: UserId) -> bool:
    """Whether the permission was added; False when there is one of this name."""
    return await tx.fetchval(_ADD_PERMISSION, name, meaning, made_by) is not None


async def appointed(tx: Tx, account_id: UserId) -> Appointed | None:
    """What an account is appointed to; None when there is none, or its user was erased."""
    row = await tx.fetchrow(_APPOINTED, account_id)
    if row is None:
        return None
    return Appointed(
        account_id=UserId(row["id"]),
        user_id=UserId(row["user_id"]),
        account_type=AccountType(row["type"]),
        status=row["status"],
        roles=frozenset(row["roles"]),
    )


async def assign(tx: Tx, account_id: UserId, *, roles: Collection[str]) -> None:
    """Give these roles to an account; the caller holds the lock."""
    await tx.execute(_ASSIGN, account_id, sorted(roles))


async def withdraw(tx: Tx, account_id: UserId, *, roles: Collection[str]) -> None:
    """Take these roles from an account; the caller holds the lock."""
    await tx.execute(_WITHDRAW, account_id, sorted(roles))


async def others_administrate(tx: Tx, user_id: UserId) -> bool:
    """Whether an administrator who can sign in is left beside this user; under the lock."""
    there: bool = await tx.fetchval(_OTHER_ADMINISTRATORS, ADMIN, user_id)
    return there


def _role(row: Row) -> StoredRole:
    return StoredRole(
        name=row["name"],
        description=row["description"],
        permissions=frozenset(row["permissions"]),
        comes_with_guilder=row["comes_with_guilder"],
    )
