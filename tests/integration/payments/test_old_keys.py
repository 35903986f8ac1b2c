"""Keys whose day is over are found among those of today without a look at each of them."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from guilder.payments.domain import KEY_LIFETIME
from guilder.payments.service.forget_claims import forget_old_claims
from tests.support.database import OwnDatabase

MADE = """
    INSERT INTO payments.idempotency
        (owner_id, key, fingerprint, transaction_id, outcome, created_at)
    SELECT gen_random_uuid(), 'key', decode(repeat('00', 32), 'hex'), gen_random_uuid(),
        'completed', now() - $2::interval
    FROM generate_series(1, $1::int)
"""
READ = """
    SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_all_tables
    WHERE schemaname = 'payments' AND relname = 'idempotency'
"""
TELL = "SELECT pg_stat_force_next_flush()"
KEPT = "SELECT count(*) FROM payments.idempotency"


async def test_only_old_keys_are_read(
    database: OwnDatabase, superuser: asyncpg.Connection[asyncpg.Record]
):
    # Where old keys lay, new ones do: all pages have had old ones.
    await superuser.execute(MADE, 10_000, KEY_LIFETIME + timedelta(hours=1))
    db = await database.connect(max_connections=1)
    await forget_old_claims(db)
    assert await superuser.fetchval(KEPT) == 0
    await superuser.execute("VACUUM ANALYZE payments.idempotency")
    await superuser.execute(MADE, 10_000, timedelta())
    await superuser.execute("VACUUM ANALYZE payments.idempotency")
    await superuser.execute(MADE, 3, KEY_LIFETIME + timedelta(hours=1))
    await db.fetchval(TELL)
    await superuser.fetchval(TELL)
    before = await superuser.fetchval(READ)

    await forget_old_claims(db)
    await db.fetchval(TELL)
    await db.close()

    assert await superuser.fetchval(READ) - before <= 10
    assert await superuser.fetchval(KEPT) == 10_000
