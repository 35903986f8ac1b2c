"""SQL of sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Tx

_ADD_SESSION: Final = """
    INSERT INTO identity.sessions (id, account_id, user_agent, started_at, expires_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING id
"""


async def add_session(
    tx: Tx,
    *,
    session_id: SessionId,
    account_id: UserId,
    user_agent: str | None,
    started_at: datetime,
    expires_at: datetime,
) -> bool:
    """Whether the session was written; False when it is there already."""
    row = (session_id, account_id, user_agent, started_at, expires_at)
    return await tx.fetchval(_ADD_SESSION, *row) is not None
