"""How much a transaction reads of a table, whatever it finds there."""

from __future__ import annotations

from guilder.platform.db import Tx

_READ = """
    SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
    WHERE relid = $1::text::regclass
"""


async def rows_read(tx: Tx, table: str) -> int:
    """How many rows of a table this transaction has read so far."""
    read: int = await tx.fetchval(_READ, table)
    return read
