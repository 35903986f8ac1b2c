"""Digests over the heads of accounts, for whoever publishes what the ledger was at some time.

Entries are chained, so the last entry that an account has in a period stands for all of them. The
digest is of two levels, so that it stays small work for any number of accounts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

from guilder.platform.db import Tx

_PARTS: Final = """
    SELECT {period} AS period, get_byte(uuid_send(account_id), 15) AS part,
        count(*) AS accounts,
        sha256(string_agg(uuid_send(account_id) || int8send(sequence) || hash, ''::bytea
            ORDER BY account_id)) AS digest
    FROM last GROUP BY 1, 2
"""
_DIGESTS: Final = """
    SELECT period, sum(accounts)::bigint AS accounts,
        sha256(string_agg(int4send(part) || digest, ''::bytea ORDER BY part)) AS digest
    FROM parts GROUP BY period
"""
# From the beginning nearly every account's head is the one that it stores; later on few have moved.
_OF_PERIOD: Final = f"""
    WITH last AS (
        SELECT id AS account_id, sequence, last_hash AS hash FROM ledger.accounts
        WHERE $1::timestamptz IS NULL AND moved_at < $2 AND sequence > 0
        UNION ALL
        SELECT a.id AS account_id, e.sequence, e.hash
        FROM ledger.accounts a CROSS JOIN LATERAL (
            SELECT e.sequence, e.hash, e.recorded_at FROM ledger.entries e
            WHERE e.account_id = a.id AND e.recorded_at < $2
            ORDER BY e.sequence DESC LIMIT 1
        ) AS e
        WHERE a.moved_at >= COALESCE($1, $2) AND ($1::timestamptz IS NULL OR e.recorded_at >= $1)
    ), parts AS ({_PARTS.format(period=0)})
    {_DIGESTS}
"""
_OF_PERIODS: Final = f"""
    WITH last AS (
        SELECT DISTINCT ON (period, account_id) period, account_id, sequence, hash
        FROM (
            SELECT width_bucket(recorded_at, $1::text[]::timestamptz[]) AS period,
                account_id, sequence, hash
            FROM ledger.entries
        ) AS e
        WHERE period BETWEEN 1 AND cardinality($1::text[]) - 1
        ORDER BY period, account_id, sequence DESC
    ), parts AS ({_PARTS.format(period="period")})
    {_DIGESTS}
"""
_NOTHING: Final = (0, sha256(b"").digest())


class AccountHeads:
    """The heads of the accounts of the one database, as audit publishes and verifies them."""

    async def of_period(
        self, tx: Tx, *, since: datetime | None, until: datetime
    ) -> tuple[int, bytes]:
        """How many accounts have entries recorded in a period, and the digest of the last ones."""
        row = await tx.fetchrow(_OF_PERIOD, since, until)
        return _NOTHING if row is None else (row["accounts"], row["digest"])

    async def of_periods(
        self, tx: Tx, limits: Sequence[datetime | None]
    ) -> Mapping[datetime, tuple[int, bytes]]:
        """The same from each limit to the next, by their ends, in one pass over the entries."""
        texts = ["-infinity" if limit is None else limit.isoformat() for limit in limits]
        rows = {row["period"]: row for row in await tx.fetch(_OF_PERIODS, texts)}
        return {
            until: (rows[number]["accounts"], rows[number]["digest"])
            if number in rows
            else _NOTHING
            for number, until in enumerate(limits[1:], start=1)
            if until is not None
        }
