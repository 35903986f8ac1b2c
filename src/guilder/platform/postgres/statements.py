"""What each statement cost the server, by the extension pg_stat_statements. For measuring only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guilder.platform.db import Database

_PRELOAD: Final = "ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'"
_CREATE: Final = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"
_RESET: Final = "SELECT pg_stat_statements_reset()"
_READ: Final = r"""
    SELECT regexp_replace(btrim(query), '\s+', ' ', 'g') AS text, calls,
        total_plan_time + total_exec_time AS total_ms, wal_bytes::bigint AS wal_bytes
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND userid = 'guilder_app'::regrole
    ORDER BY total_ms DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement with what all its calls together took."""

    text: str
    calls: int
    total_ms: float
    wal_bytes: int


async def preload(db: Database) -> None:
    """Load the extension's library at the server's next start."""
    await db.fetchval(_PRELOAD)


async def statements(db: Database) -> list[Statement]:
    """What was counted in this database since the last call, the costliest first; then count anew.

    The extension is made on the first call.
    """
    await db.fetchval(_CREATE)
    found = [Statement(**row) for row in await db.fetch(_READ)]
    await db.fetchval(_RESET)
    return found
