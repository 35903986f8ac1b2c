"""SQL of what people are given of the data on them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from guilder.identity.api.personal_data import WayIn
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx

_ROLES_SINCE: Final = """
    SELECT r.role, r.assigned_at FROM identity.role_assignments r
    JOIN identity.accounts a ON a.id = r.account_id
    WHERE a.user_id = $1 ORDER BY r.assigned_at, r.role
"""
_WAYS_IN: Final = """
    SELECT 'authenticator_app' AS kind, NULL AS name, confirmed_at AS since,
        NULL::timestamptz AS last_used_at
    FROM identity.totp WHERE user_id = $1 AND confirmed_at IS NOT NULL
    UNION ALL SELECT 'passkey', name, added_at, last_used_at
    FROM identity.passkeys WHERE user_id = $1
    UNION ALL SELECT 'provider', provider, linked_at, last_used_at
    FROM identity.outside_identities WHERE user_id = $1
    UNION ALL SELECT 'remembered_device', NULL, made_at, last_used_at
    FROM identity.remembered_devices WHERE user_id = $1
    UNION ALL SELECT 'machine_client', name, made_at, last_used_at
    FROM identity.clients WHERE owner_id = $1
    ORDER BY since, kind
"""


async def roles_since(tx: Tx, user_id: UserId) -> tuple[tuple[str, datetime], ...]:
    """Every role of a user's accounts, and since when."""
    return tuple((row["role"], row["assigned_at"]) for row in await tx.fetch(_ROLES_SINCE, user_id))


async def ways_in(tx: Tx, user_id: UserId) -> tuple[WayIn, ...]:
    """What a user signs in with beside the password, or lets others sign in with."""
    return tuple(WayIn(**dict(row)) for row in await tx.fetch(_WAYS_IN, user_id))
