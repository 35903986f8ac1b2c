"""SQL of one-time codes: secrets by name, each with a life and a count of tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from guilder.platform.db import Tx, rows_done

_PUT: Final = """
    INSERT INTO identity.one_time_codes (name, secret, expires_at)
    VALUES ($1, $2, clock_timestamp() + $3::interval)
    ON CONFLICT (name) DO UPDATE
        SET secret = excluded.secret, tries = 0, expires_at = excluded.expires_at
"""
_READ: Final = """
    SELECT name, secret FROM identity.one_time_codes
    WHERE name = ANY($1::text[]) AND expires_at > clock_timestamp()
"""
# A name without a code gets a decoy that no code opens, so that trying costs the same.
_GUESS: Final = """
    INSERT INTO identity.one_time_codes AS c (name, secret, tries, expires_at)
    VALUES ($1, $2, 1, clock_timestamp() + $3::interval)
    ON CONFLICT (name) DO UPDATE
        SET tries = CASE WHEN c.expires_at > clock_timestamp() THEN c.tries + 1 ELSE 1 END,
            secret = CASE WHEN c.expires_at > clock_timestamp() THEN c.secret
                ELSE excluded.secret END,
            expires_at = CASE WHEN c.expires_at > clock_timestamp() THEN c.expires_at
                ELSE excluded.expires_at END
    RETURNING secret, tries
"""
_TAKE: Final = "DELETE FROM identity.one_time_codes WHERE name = $1 AND secret = $2"
_DROP: Final = "DELETE FROM identity.one_time_codes WHERE name = ANY($1::text[])"
_CLEAR: Final = "DELETE FROM identity.one_time_codes WHERE expires_at <= statement_timestamp()"
_ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_WAS_ISSUED: Final = "SELECT EXISTS (SELECT FROM identity.code_issues WHERE id = $1)"
# Once the n-th newest is older than the time in which there may be n, there may be one more.
_WAIT: Final = """
    SELECT max(nth.issued_at + pace.within) - clock_timestamp()
    FROM unnest($2::int[], $3::interval[]) AS pace(most, within)
    CROSS JOIN LATERAL (
        SELECT issued_at FROM identity.code_issues WHERE name = $1
        ORDER BY issued_at DESC OFFSET pace.most - 1 LIMIT 1
    ) AS nth
"""
_ISSUE: Final = "INSERT INTO identity.code_issues (id, name) VALUES ($1, $2)"
_FORGET_ISSUES: Final = """
    DELETE FROM identity.code_issues WHERE issued_at < statement_timestamp() - $1::interval
"""


async def put(tx: Tx, name: str, *, secret: bytes, life: timedelta) -> None:
    """Keep a secret, in place of the one of this name."""
    await tx.execute(_PUT, name, secret, life)


async def read(tx: Tx, names: Sequence[str]) -> dict[str, bytes]:
    """The secrets of these names that are alive."""
    return {row["name"]: row["secret"] for row in await tx.fetch(_READ, list(names))}


async def guess(tx: Tx, name: str, *, decoy: bytes, life: timedelta) -> tuple[bytes, int]:
    """The secret to compare with, and how many tries there were with this one."""
    row = await tx.fetchrow(_GUESS, name, decoy, life)
    if row is None:
        raise AssertionError  # pragma: no cover - an upsert returns its row
    return row["secret"], row["tries"]


async def take(tx: Tx, name: str, *, secret: bytes) -> bool:
    """Remove this very secret; true for the one who did."""
    return rows_done(await tx.execute(_TAKE, name, secret)) == 1


async def drop(tx: Tx, names: Sequence[str]) -> None:
    """Remove secrets, if they are there."""
    await tx.execute(_DROP, list(names))


async def clear(tx: Tx) -> None:
    """Remove what is over."""
    await tx.execute(_CLEAR)


async def issue(tx: Tx, name: str, *, attempt: UUID, paces: Mapping[int, timedelta]) -> timedelta:
    """How long a code under this name has to wait; zero: this attempt counts as sent, once.

    ``paces`` say in which time there may be how many.
    """
    await tx.execute(_ONE_AT_A_TIME, f"identity.code_issues|{name}")
    if await tx.fetchval(_WAS_ISSUED, attempt):
        return timedelta(0)
    wait: timedelta | None = await tx.fetchval(_WAIT, name, list(paces), list(paces.values()))
    if wait is not None and wait > timedelta(0):
        return wait
    await tx.execute(_ISSUE, attempt, name)
    return timedelta(0)


async def forget_issues(tx: Tx, *, after: timedelta) -> None:
    """Forget what was sent longer ago."""
    await tx.execute(_FORGET_ISSUES, after)
