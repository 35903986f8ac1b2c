"""SQL that forgets erased people. An empty contact, newer than any other, keeps their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from guilder.kernel.ids import UserId
from guilder.platform.db import Tx, rows_done

_EMPTY_CONTACTS: Final = """
    INSERT INTO notifications.contacts (user_id, sealed, has_email, has_phone, changed_at)
    SELECT id, '', false, false, 'infinity' FROM unnest($1::uuid[]) AS erased(id) ORDER BY id
    ON CONFLICT (user_id) DO UPDATE
    SET sealed = '', has_email = false, has_phone = false, changed_at = 'infinity'
"""
_FORGET: Final = tuple(
    f"DELETE FROM notifications.{table} WHERE user_id = ANY($1::uuid[])"
    for table in (
        "preferences",
        "devices",
        "deliveries",
        "sandbox_outbox",
        "feed",
        "inboxes",
    )
)
_CAME_LATE: Final = """
    SELECT c.user_id FROM notifications.contacts c
    WHERE c.changed_at = 'infinity' AND (
        EXISTS (SELECT FROM notifications.feed f WHERE f.user_id = c.user_id)
        OR EXISTS (SELECT FROM notifications.deliveries d WHERE d.user_id = c.user_id))
    ORDER BY c.user_id LIMIT $1
"""


async def forget(tx: Tx, user_ids: Sequence[UserId]) -> int:
    """Delete what is known of these people, and take no contact of theirs again; how many rows."""
    await tx.execute(_EMPTY_CONTACTS, user_ids)
    return sum([rows_done(await tx.execute(statement, user_ids)) for statement in _FORGET])


async def told_late(tx: Tx, *, most: int) -> Sequence[UserId]:
    """Erased people of whom something came in afterwards."""
    return [UserId(row["user_id"]) for row in await tx.fetch(_CAME_LATE, most)]
