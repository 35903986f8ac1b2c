"""The sandbox outbox as rows: which message went to which address. Its words are not kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from guilder.kernel.ids import UserId
from guilder.notifications.domain.records import LaidOut, Letter
from guilder.platform.db import Tx

_LAY_OUT: Final = """
    INSERT INTO notifications.sandbox_outbox (id, user_id, channel, recipient)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING
"""
_LAID_OUT: Final = """
    SELECT o.id, o.user_id, o.channel, o.recipient, o.sent_at, d.template, d.data
    FROM notifications.sandbox_outbox o JOIN notifications.deliveries d USING (id)
    WHERE o.user_id = $1 AND o.id < $2 AND ($4 OR d.category <> 'security')
    ORDER BY o.id DESC LIMIT $3
"""
_CLEAR: Final = """
    DELETE FROM notifications.sandbox_outbox WHERE sent_at < statement_timestamp() - $1::interval
"""


async def lay_out(tx: Tx, letters: Sequence[Letter]) -> None:
    """Put messages into the sandbox outbox, each once."""
    await tx.execute(
        _LAY_OUT,
        [letter.id for letter in letters],
        [letter.user_id for letter in letters],
        [letter.channel.value for letter in letters],
        [letter.to for letter in letters],
    )


async def laid_out(
    tx: Tx, user_id: UserId, *, before: UUID, limit: int, with_security: bool
) -> list[LaidOut]:
    """A person's messages in the sandbox outbox, newest first."""
    rows = await tx.fetch(_LAID_OUT, user_id, before, limit, with_security)
    return [LaidOut(**{**row, "data": msgspec.json.decode(row["data"])}) for row in rows]


async def clear(tx: Tx, *, older_than: timedelta) -> None:
    """Empty the sandbox outbox of what nobody will look at any more."""
    await tx.execute(_CLEAR, older_than)
