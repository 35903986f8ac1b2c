"""What is new of an account is found without reading what is old, however much that is."""

from __future__ import annotations

import asyncpg

from guilder.ledger.store.slices import Slice, unbalanced, verify_slices
from guilder.platform.db import Database, Tx
from tests.support.database import OwnDatabase

ACCOUNTS, ENTRIES_EACH, NEW_OF_EACH = 200, 1_000, 3
# Nobody looks at what these rows say, only at how many are read.
FILLED = f"""
    INSERT INTO ledger.accounts (id, owner_id, code, type, currency, status, created_at, seal)
    SELECT gen_random_uuid(), gen_random_uuid(), 'customer.wallet', 'liability', 'INR', 'open',
        now(), ''
    FROM generate_series(1, {ACCOUNTS});
    INSERT INTO ledger.entries (account_id, sequence, transaction_id, amount_minor,
        balance_after_minor, recorded_at, hash)
    SELECT a.id, s.n, gen_random_uuid(), 1, s.n, now(), decode(repeat('00', 32), 'hex')
    FROM ledger.accounts a, generate_series(1, {ENTRIES_EACH}) AS s(n);
    ANALYZE ledger.accounts, ledger.entries;
"""
READ = """
    SELECT idx_tup_read FROM pg_stat_all_indexes
    WHERE schemaname = 'ledger' AND indexrelname = 'entries_pkey'
"""


async def test_new_entries_are_verified_without_reading_old_ones(
    database: OwnDatabase, superuser: asyncpg.Connection[asyncpg.Record]
):
    await superuser.execute(FILLED)
    accounts = await superuser.fetch("SELECT id FROM ledger.accounts ORDER BY id")
    pieces = [
        Slice(
            account_id=row["id"],
            after_sequence=ENTRIES_EACH - NEW_OF_EACH,
            up_to_sequence=ENTRIES_EACH,
            hash=bytes(32),
            balance_minor=0,
        )
        for row in accounts
    ]

    async def look(tx: Tx) -> None:
        assert sum(row["entries"] for row in (await verify_slices(tx, pieces)).values()) == (
            ACCOUNTS * NEW_OF_EACH
        )
        assert len(await unbalanced(tx, pieces)) == ACCOUNTS * NEW_OF_EACH

    before = await superuser.fetchval(READ)
    # As the application does: ten looks, for the server plans anew after the fifth.
    db = await Database.connect(database.url(), max_connections=1, finds_by_index=True)
    for _ in range(10):
        await db.run(look)
    await db.fetchval("SELECT pg_stat_force_next_flush()")
    await db.close()

    # Each look reads a new entry twice, and the one before the first of them once.
    most = 10 * ACCOUNTS * (2 * NEW_OF_EACH + 1)
    assert await superuser.fetchval(READ) - before <= most
